// A reverse proxy as Go programs are: what its standard library has for that,
// and nothing else. Run by benchmarks.proxy, if asked to:
//
//	reverse ADDRESS SMALL-URL STREAM-URL
//
// It reads the body of a request that is JSON, passes it on to the backend of
// the model that this names, and flushes after each write of the answer. It has
// no queue, no limits, no keys, no metrics and no log.
package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"time"
)

func proxyTo(address string) *httputil.ReverseProxy {
	target, err := url.Parse(address)
	if err != nil {
		log.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.FlushInterval = -1
	// As many connections are kept as nginx keeps; Go would keep two.
	proxy.Transport = &http.Transport{
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     time.Minute,
		DisableCompression:  true,
	}
	return proxy
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("reverse ADDRESS SMALL-URL STREAM-URL")
	}
	models := map[string]*httputil.ReverseProxy{
		"small":  proxyTo(os.Args[2]),
		"stream": proxyTo(os.Args[3]),
	}
	serve := func(w http.ResponseWriter, r *http.Request) {
		said := struct {
			Model string `json:"model"`
		}{r.URL.Query().Get("model")}
		if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
			body, err := io.ReadAll(r.Body)
			if err == nil {
				err = json.Unmarshal(body, &said)
			}
			if err != nil {
				http.Error(w, "the body cannot be read", http.StatusBadRequest)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		proxy, known := models[said.Model]
		if !known {
			http.Error(w, "no such model", http.StatusNotFound)
			return
		}
		proxy.ServeHTTP(w, r)
	}
	log.Fatal(http.ListenAndServe(os.Args[1], http.HandlerFunc(serve)))
}
