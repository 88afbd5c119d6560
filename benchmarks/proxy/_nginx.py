"""
nginx, twice: as a fast backend, and as the reverse proxy to be compared with.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.proxy._children import Children, Trouble, listens

#: What the backend answers to a small request: about what an embedding or a
#: classification is.
ANSWER = (
    '{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,'
    '"model":"small","choices":[{"index":0,"message":{"role":"assistant",'
    '"content":"Hello."},"finish_reason":"stop"}],'
    '"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}'
)

FRAME = """
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid {folder}/{name}.pid;
error_log {folder}/{name}.error.log warn;
events {{ worker_connections {files}; }}
http {{
    access_log {log};
    client_body_temp_path {folder}/{name}-body;
    proxy_temp_path {folder}/{name}-proxy;
    fastcgi_temp_path {folder}/{name}-fastcgi;
    uwsgi_temp_path {folder}/{name}-uwsgi;
    scgi_temp_path {folder}/{name}-scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    client_max_body_size 512m;
{rest}
}}
"""

BACKEND = """
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        default_type application/json;
        location = /large {{ alias {folder}/large; }}
        location / {{ return 200 '{answer}'; }}
    }}
"""

PROXY = """
    upstream small {{ server 127.0.0.1:{small}; keepalive 64; keepalive_requests 1000000000; }}
    upstream stream {{ server 127.0.0.1:{stream}; keepalive 64; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_buffering off;
        proxy_read_timeout 600s;
        location / {{ proxy_pass http://small; }}
        location /v1/completions {{ proxy_pass http://stream; }}
    }}
"""


def findProgram(name: str, package: str) -> str:
    """
    @raise Trouble: if it is not installed.
    """
    # Debian has nginx where only root looks.
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise Trouble(f"{name} is not installed: apt-get install {package}")
    return path


def _start(
    children: Children, name: str, port: int, files: int, log: str, rest: str
) -> int:
    nginx = findProgram("nginx", "nginx")
    folder: Path = children.folder
    path = folder / f"{name}.conf"
    path.write_text(
        FRAME.format(folder=folder, name=name, files=files, log=log, rest=rest)
    )
    argv = [nginx, "-c", str(path), "-p", str(folder), "-e", f"{folder}/{name}.early"]
    pid = children.start(name, argv)
    children.waitFor(name, lambda: listens(port))
    return pid


def startBackend(children: Children, port: int, files: int) -> int:
    """
    Start what answers small requests.

    @param files: how many descriptors it may have.

    @return: its process.
    """
    rest = BACKEND.format(port=port, answer=ANSWER, folder=children.folder)
    return _start(children, "backend", port, files, "off", rest)


def startProxy(
    children: Children, port: int, small: int, stream: int, files: int
) -> int:
    """
    Start the proxy, which writes a line for each request into an access log,
    as llmux is told to here.

    @param small: port of the backend for small requests, and C{stream} that
        of the source of streams.

    @return: its process.
    """
    rest = PROXY.format(port=port, small=small, stream=stream)
    log = f"{children.folder}/proxy.access.log"
    return _start(children, "nginx", port, files, log, rest)
