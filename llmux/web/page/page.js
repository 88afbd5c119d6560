// The page of operators.  It is told how everything is by events, draws that
// in place so that nothing loses its focus, and only ever sets text, no HTML.
"use strict";

const $ = (id) => document.getElementById(id);
const KEY = "llmux-key";
const STATES = ["awake", "waking", "draining", "sleeping", "asleep", "checking", "cooling", "stuck", "unknown"];
const SHOWN_STREAMS = 12;
const LOG_LINES = 500;

let status = null; // the last that was told
let toldAt = 0; // when, by performance.now()
let cards = new Map(); // of models, by id

function make(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function time(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 120) return `${whole} s`;
  if (whole < 7200) return `${Math.floor(whole / 60)} min`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));
const since = () => (performance.now() - toldAt) / 1000;
const pathOf = (model, act) => `models/${encodeURIComponent(model)}/${act}`;

// To ask. ---------------------------------------------------------------------

let asking = null; // one dialog, however many requests need a key

function askForKey(why) {
  asking ??= new Promise((done) => {
    say($("ask-why"), why);
    const dialog = $("ask");
    $("ask-key").value = "";
    dialog.addEventListener("close", () => {
      const key = $("ask-key").value.trim();
      if (key) sessionStorage.setItem(KEY, key);
      $("ask-key").value = "";
      asking = null;
      done();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

async function ask(path, options = {}) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
    // Without credentials, as the browser would ask for them in its own way.
    const answer = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
    if (answer.ok) return answer;
    let error = {};
    try {
      error = (await answer.json()).error;
    } catch { /* not llmux's own */ }
    if (error.code !== "invalid_api_key" && error.code !== "permission_denied") {
      throw new Error(error.message ?? `${answer.status} ${answer.statusText}`);
    }
    if (sessionStorage.getItem(KEY) === key) {
      sessionStorage.removeItem(KEY);
      await askForKey(key ? error.message : "");
    }
  }
}

async function* eventsOf(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", event = "", data = [];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const raw of lines) {
      const line = raw.replace(/\r$/, "");
      if (line === "") {
        if (data.length) yield { event, data: data.join("\n") };
        event = "";
        data = [];
      } else if (line.startsWith("event:")) event = line.slice(6).trim();
      else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
    }
  }
}

function complain(error) {
  if (error.name === "AbortError") return;
  say($("alert-text"), error.message);
  $("alert").hidden = false;
}

// Models. ---------------------------------------------------------------------

async function act(card, model, what) {
  card.pending = true;
  drawCard(card);
  try {
    await ask(pathOf(model, what), { method: "POST" });
    $("alert").hidden = true;
  } catch (error) {
    complain(error);
  } finally {
    card.pending = false;
    drawCard(card);
  }
}

function makeCard(id) {
  const card = { li: make("li"), pending: false };
  const top = make("div", "top");
  card.name = make("h3", "", id);
  card.badge = make("span", "badge");
  top.append(card.name, card.badge);
  card.also = make("p", "quiet");
  const facts = make("dl", "facts");
  card.facts = {};
  for (const [name, label] of [["serves", "in flight"], ["waits", "waiting"], ["costs", "to wake"]]) {
    const pair = make("div"), value = make("dd");
    const more = make("small"), text = make("span");
    value.append(text, more);
    pair.append(make("dt", "", label), value);
    facts.append(pair);
    card.facts[name] = { text, more };
  }
  card.streams = make("ul", "streams");
  card.streams.setAttribute("aria-label", `Requests in flight of ${id}, by age`);
  card.error = make("p", "error");
  card.buttons = {};
  const row = make("div", "row");
  for (const [what, label, path] of [["wake", "Wake", "wake"], ["sleep", "Sleep", "sleep?drain"], ["clear", "It is free: clear", "clear"]]) {
    const button = make("button", what === "wake" ? "main" : "", label);
    button.type = "button";
    button.setAttribute("aria-label", `${label}: ${id}`);
    button.dataset.act = what;
    button.addEventListener("click", () => {
      if (button.getAttribute("aria-disabled") !== "true") act(card, id, path);
    });
    row.append(button);
    card.buttons[what] = button;
  }
  card.li.dataset.model = id;
  card.li.append(top, card.also, facts, card.streams, card.error, row);
  return card;
}

function drawCard(card) {
  const model = card.model, later = since();
  const held = !["asleep", "cooling"].includes(model.state);
  card.li.dataset.state = card.badge.dataset.state = model.state;
  say(card.badge, model.state);
  const also = [`for ${time(model.state_for + later)}`];
  if (model.pinned) also.push("pinned");
  if (model.aliases.length) also.push(`also ${model.aliases.join(", ")}`);
  for (const [name, amount] of Object.entries(model.needs)) also.push(`${name} ${amount}`);
  say(card.also, also.join(" · "));
  const { serves, waits, costs } = card.facts;
  say(serves.text, String(model.in_flight));
  say(serves.more, model.in_flight ? `oldest ${time(model.in_flight_ages[0] + later)}` : "");
  say(waits.text, String(model.queued));
  say(waits.more, model.queued ? `oldest ${time(model.oldest_waits + later)}` : "");
  say(costs.text, time(model.costs.wake));
  say(costs.more, `sleep ${time(model.costs.sleep)}`);
  const ages = model.in_flight_ages.slice(0, SHOWN_STREAMS).map((age) => time(age + later));
  if (model.in_flight > ages.length) ages.push(`+${model.in_flight - ages.length}`);
  while (card.streams.children.length > ages.length) card.streams.lastChild.remove();
  while (card.streams.children.length < ages.length) card.streams.append(make("li"));
  ages.forEach((age, index) => say(card.streams.children[index], age));
  card.streams.hidden = !ages.length;
  const error = model.last_error;
  card.error.hidden = !error;
  if (error) {
    const again = model.retry_in === null ? "" : `; next try in ${time(Math.max(0, model.retry_in - later))}`;
    say(card.error, `${error.hook} failed ${time(error.ago + later)} ago: ${error.error}${again}`);
  }
  // Not really disabled: a button that has the focus would lose it.
  const { wake, sleep, clear } = card.buttons;
  const off = (button, isOff) => button.setAttribute("aria-disabled", String(card.pending || isOff));
  off(wake, held);
  off(sleep, model.pinned || !["awake", "draining"].includes(model.state));
  off(clear, false);
  clear.hidden = model.state !== "stuck";
  card.li.setAttribute("aria-busy", String(card.pending));
}

function drawModels() {
  for (const model of status.models) {
    let card = cards.get(model.id);
    if (!card) {
      card = makeCard(model.id);
      cards.set(model.id, card);
      $("models").append(card.li);
    }
    card.model = model;
    drawCard(card);
  }
  const ids = status.models.map((model) => model.id);
  for (const [id, card] of cards) {
    if (!ids.includes(id)) {
      card.li.remove();
      cards.delete(id);
    }
  }
  for (const select of [$("try-model"), $("logs-model")]) {
    if (ids.join("\n") === [...select.options].map((option) => option.value).join("\n")) continue;
    const before = select.value;
    select.replaceChildren(...ids.map((id) => new Option(id, id)));
    const awake = status.models.find((model) => model.state === "awake");
    select.value = ids.includes(before) ? before : (awake?.id ?? ids[0] ?? "");
    select.dispatchEvent(new Event("change"));
  }
}

function drawResources() {
  const names = Object.entries(status.resources);
  $("resources").hidden = !names.length;
  $("resources").replaceChildren(...names.map(([name, { total, free }]) => {
    const pair = make("div"), value = make("dd"), meter = make("meter");
    meter.max = total;
    meter.value = total - free;
    const text = `${name}: ${+(total - free).toFixed(2)} of ${total} in use`;
    meter.setAttribute("aria-label", text);
    value.append(meter);
    pair.append(make("dt", "", text), value);
    return pair;
  }));
}

// Switches. -------------------------------------------------------------------

const PHASES = ["draining", "sleeping", "waking"];

function drawSwitches() {
  const list = $("switches");
  $("now").hidden = !status.switches.length;
  while (list.children.length > status.switches.length) list.lastChild.remove();
  status.switches.forEach((change, index) => {
    let part = list.children[index];
    if (!part) {
      part = make("div");
      const steps = make("ol", "steps");
      for (const phase of PHASES) steps.append(make("li", "", phase));
      const bar = make("progress");
      bar.max = 1;
      part.append(make("h3"), steps, bar, make("p", "quiet"));
      list.append(part);
    }
    const [head, steps, bar, text] = part.children;
    const elapsed = change.elapsed + since();
    const left = change.remaining === null ? null : Math.max(0, change.remaining - (change.phase === "draining" ? 0 : since()));
    const victims = change.victims.length ? ` in the place of ${change.victims.join(", ")}` : "";
    say(head, `${change.target}${victims}`);
    const at = PHASES.indexOf(change.phase);
    PHASES.forEach((phase, step) => {
      const shown = steps.children[step];
      shown.hidden = !change.victims.length && phase !== "waking";
      shown.className = step < at ? "done" : "";
      if (step === at) shown.setAttribute("aria-current", "step");
      else shown.removeAttribute("aria-current");
    });
    bar.setAttribute("aria-label", `Switch to ${change.target}`);
    if (left === null) bar.removeAttribute("value");
    else bar.value = elapsed / (elapsed + left || 1);
    say(text, `${change.phase}, ${time(elapsed)} so far${left === null ? "" : `, about ${time(left)} left`}`);
  });
}

function drawPast() {
  const events = [
    ...status.recent_switches.map((one) => ({
      ago: one.ago,
      text: `${one.target}: ${one.result === "ok" ? "woken" : one.result} in ${time(one.duration)}` +
        (one.victims.length ? `, in the place of ${one.victims.join(", ")}` : ""),
    })),
    ...status.recent_errors.map((one) => ({ ago: one.ago, text: `${one.model}: ${one.hook} failed: ${one.error}`, bad: true })),
  ].sort((one, other) => one.ago - other.ago).slice(0, 8);
  $("past").replaceChildren(...(events.length ? events.map((one) => {
    const item = make("li");
    const when = make("time", "", `${time(one.ago + since())} ago`);
    item.append(make("span", one.bad ? "error" : "", one.text), when);
    return item;
  }) : [make("li", "quiet", "Nothing has been switched yet.")]));
}

// The hour. -------------------------------------------------------------------

// How far back it goes, in minutes: as far as llmux was there, an hour at most.
const SCALES = [2, 5, 15, 30, 60];

let hourDue = null;

async function drawHour() {
  hourDue = null;
  let hour;
  try {
    hour = await (await ask("timeline")).json();
  } catch { return; /* the next event asks again */ }
  const up = status ? status.up_for + since() : hour.seconds;
  const minutes = SCALES.find((scale) => scale * 60 >= up) ?? 60;
  const span = Math.min(hour.seconds, minutes * 60);
  say($("axis-from"), `${minutes} min ago`);
  say($("axis-half"), String(minutes / 2));
  $("hour").replaceChildren(...hour.models.map(({ id, states }) => {
    const lane = make("div", "lane"), bar = make("div", "bar");
    const sums = new Map();
    for (const { state, began, ended } of states) {
      const part = make("i");
      part.dataset.state = state;
      part.title = `${state}, ${time(began - ended)}, until ${ended ? `${time(ended)} ago` : "now"}`;
      part.style.left = `${100 * (1 - began / span)}%`;
      part.style.width = `${100 * (began - ended) / span}%`;
      bar.append(part);
      sums.set(state, (sums.get(state) ?? 0) + began - ended);
    }
    bar.setAttribute("role", "img");
    bar.setAttribute("aria-label", `${id}: ${[...sums].map(([state, sum]) => `${state} ${time(sum)}`).join(", ")}`);
    lane.append(make("span", "", id), bar);
    lane.firstChild.title = id;
    return lane;
  }));
}

function hourSoon() {
  hourDue ??= setTimeout(drawHour, 300);
}

// To be told. -----------------------------------------------------------------

function draw() {
  if (!status) return;
  say($("about"), `${status.version} · ${status.policy} · up for ${time(status.up_for + since())}`);
  drawModels();
  drawSwitches();
  drawResources();
  drawPast();
  const awake = status.models.filter((model) => model.state === "awake").map((model) => model.id);
  document.title = `${awake.join(", ") || "all asleep"} – llmux`;
}

function link(is, text) {
  $("link").dataset.is = is;
  say($("link"), text);
}

function told(event, data) {
  if (event === "status") {
    status = data;
    toldAt = performance.now();
    draw();
  } else if (event === "state_changed") {
    if (data.after === "awake" || data.after === "asleep" || data.after === "stuck" || data.after === "cooling") {
      say($("told"), `${data.model} is ${data.after}`);
    }
    const card = cards.get(data.model);
    if (card) {
      card.model = { ...card.model, state: data.after, state_for: -since() };
      drawCard(card);
    }
    hourSoon();
  } else if (event === "switch_started") say($("told"), `Switching to ${data.target}`);
}

async function follow() {
  for (let wait = 1; ; wait = Math.min(10, wait * 2)) {
    try {
      const answer = await ask("events?status");
      link("live", "live");
      wait = 1;
      hourSoon();
      for await (const { event, data } of eventsOf(answer)) told(event, JSON.parse(data));
    } catch { /* whatever it is, it is tried again */ }
    link("lost", "connection lost, trying again");
    await pause(wait);
  }
}

// Logs. -----------------------------------------------------------------------

let reading = null;

function logLine(text) {
  const [, at, hook, stream, said] = /^(\S+) (\w+) (\w+): (.*)$/.exec(text) ?? [];
  const line = make("span", stream === "stderr" ? "stderr" : "");
  if (!at) {
    line.textContent = `${text}\n`;
    return line;
  }
  const when = make("span", "when", `${new Date(at).toLocaleTimeString([], { hour12: false })} ${hook} `);
  when.title = `${at} ${stream}`;
  line.append(when, `${said}\n`);
  return line;
}

async function readLogs() {
  reading?.abort();
  const mine = reading = new AbortController();
  const model = $("logs-model").value, pre = $("logs");
  while (model && reading === mine) {
    try {
      const answer = await ask(`logs/${encodeURIComponent(model)}?follow`, { signal: mine.signal });
      pre.replaceChildren();
      for await (const { data } of eventsOf(answer)) {
        if (reading !== mine) return;
        const atEnd = pre.scrollHeight - pre.scrollTop - pre.clientHeight < 24;
        pre.append(logLine(data));
        while (pre.childNodes.length > LOG_LINES) pre.firstChild.remove();
        if (atEnd) pre.scrollTop = pre.scrollHeight;
      }
    } catch { /* whatever it is, it is tried again */ }
    await pause(3);
  }
}

// To try a model. ---------------------------------------------------------------

let trying = null;

async function send() {
  const answer = $("try-answer"), began = performance.now();
  const model = $("try-model").value;
  trying = new AbortController();
  $("try-send").disabled = true;
  $("try-stop").disabled = false;
  answer.replaceChildren();
  say($("try-state"), "waiting");
  let pieces = 0;
  try {
    const reply = await ask("../v1/chat/completions", {
      method: "POST",
      signal: trying.signal,
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ model, stream: true, messages: [{ role: "user", content: $("try-prompt").value }] }),
    });
    for await (const { event, data } of eventsOf(reply)) {
      if (data === "[DONE]") break;
      const part = JSON.parse(data);
      if (event === "error" || part.error) throw new Error(part.error?.message ?? "The answer broke off.");
      const delta = part.choices?.[0]?.delta ?? {};
      const thought = delta.reasoning_content ?? delta.reasoning;
      if (thought) answer.append(make("em", "", thought));
      if (delta.content) answer.append(delta.content);
      if (thought || delta.content) {
        if (!pieces++) say($("try-state"), `began after ${time((performance.now() - began) / 1000)}`);
        answer.scrollTop = answer.scrollHeight;
      }
    }
    say($("try-state"), `${pieces} pieces in ${time((performance.now() - began) / 1000)}`);
  } catch (error) {
    say($("try-state"), error.name === "AbortError" ? "stopped" : "failed");
    complain(error);
  } finally {
    trying = null;
    $("try-send").disabled = false;
    $("try-stop").disabled = true;
  }
}

$("try").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!trying) send();
});
$("try-prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("try").requestSubmit();
});
$("try-stop").addEventListener("click", () => trying?.abort());
$("logs-model").addEventListener("change", readLogs);
$("alert-close").addEventListener("click", () => { $("alert").hidden = true; });
$("ask").addEventListener("cancel", (event) => event.preventDefault());
$("legend").replaceChildren(...STATES.map((state) => {
  const item = make("li", "badge", state);
  item.dataset.state = state;
  return item;
}));
setInterval(() => { if (!document.hidden) draw(); }, 1000);
setInterval(() => { if (!document.hidden) hourSoon(); }, 30000);
follow();
