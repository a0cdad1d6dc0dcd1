"use strict";

const LIMIT = 0.2; // keypoints that the model is less sure of are not drawn
const HUES = [158, 22, 262, 205, 330, 48, 100, 0];
const STATES = {
  connecting: "Connecting", live: "Live", waiting: "Waiting for the camera", ended: "The run has ended",
  lost: "No connection to the device",
};
const DRIFT_WORDS = {
  brightness: "the light", sharpness: "how sharp the picture is", scale: "how large people appear",
  confidence: "how sure the model is", visibility: "how much of people can be seen",
  leg_ratio: "the shape of legs", arm_ratio: "the shape of arms", tilt: "how upright people are",
  persons: "how many people are in view", jitter: "how much figures tremble",
  swaps: "how often left and right are mixed up", latency: "how long a frame takes",
};
const CAMERA_WORDS = {
  camera_lost: "The camera gives no frames any more. It is being opened again.",
  camera_restarted: "The camera was lost and is back.",
  camera_frozen: "The camera showed the very same picture for a while.",
  camera_size_changed: "The camera changed the size of its picture.",
};
const byId = (id) => document.getElementById(id);
const canvas = byId("canvas");
const dark = window.matchMedia("(prefers-color-scheme: dark)");

let view = null;
let source = null;
let paused = false;
let ended = false;
let drawing = false;
let spoken = "";
let spokenAt = 0;

function setState(state) {
  document.body.dataset.state = state;
  const text = paused && state === "live" ? "Paused" : STATES[state];
  if (byId("state").textContent !== text) byId("state").textContent = text;
  showEmpty();
}

function showEmpty() {
  const state = document.body.dataset.state;
  const nobody = view !== null && view.persons.length === 0;
  let text = "";
  if (state !== "live") text = STATES[state] || "";
  else if (nobody) text = "Nobody in view";
  if (state === "waiting" && view !== null) text = "No new frame: is the camera connected?";
  byId("empty").textContent = text;
  byId("empty").hidden = text === "";
  canvas.style.opacity = state === "live" ? "1" : "0.25";
}

function colour(person, index) {
  const id = person.id === null ? index : person.id - 1;
  const hue = HUES[((id % HUES.length) + HUES.length) % HUES.length];
  return dark.matches ? `hsl(${hue} 70% 68%)` : `hsl(${hue} 75% 32%)`;
}

function fit() {
  const [width, height] = view.size;
  canvas.style.aspectRatio = `${width} / ${height}`;
  const box = canvas.getBoundingClientRect();
  const ratio = window.devicePixelRatio || 1;
  const w = Math.round(box.width * ratio);
  const h = Math.round(box.height * ratio);
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
  }
  return Math.min(w / width, h / height);
}

function drawPerson(pen, person, index, scale) {
  const points = person.points;
  const ys = points.filter((p) => p[2] >= LIMIT).map((p) => p[1]);
  const tall = ys.length ? Math.max(...ys) - Math.min(...ys) : 0;
  const thick = Math.min(Math.max(tall * 0.022 * scale, 2.5), 18);
  pen.strokeStyle = pen.fillStyle = colour(person, index);
  pen.lineWidth = thick;
  pen.lineCap = "round";
  for (const [from, to] of view.edges) {
    const a = points[from];
    const b = points[to];
    if (!a || !b || a[2] < LIMIT || b[2] < LIMIT) continue;
    pen.globalAlpha = 0.45 + 0.55 * Math.min(a[2], b[2], 1);
    pen.beginPath();
    pen.moveTo(a[0] * scale, a[1] * scale);
    pen.lineTo(b[0] * scale, b[1] * scale);
    pen.stroke();
  }
  pen.globalAlpha = 1;
  for (const [x, y, score] of points) {
    if (score < LIMIT) continue;
    pen.beginPath();
    pen.arc(x * scale, y * scale, thick * 0.85, 0, 2 * Math.PI);
    pen.fill();
  }
}

function draw() {
  drawing = false;
  if (view === null) return;
  const scale = fit();
  const pen = canvas.getContext("2d");
  const [width, height] = view.size;
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.translate((canvas.width - width * scale) / 2, (canvas.height - height * scale) / 2);
  view.persons.forEach((person, index) => drawPerson(pen, person, index, scale));
  canvas.dataset.frame = view.frame;
  showEmpty();
}

function redraw() {
  if (drawing) return;
  drawing = true;
  window.requestAnimationFrame(draw);
}

function say(id, value, digits) {
  byId(id).textContent = value === null || value === undefined ? "–" : value.toFixed(digits);
}

function speak(figures) {
  const people = figures.persons === 1 ? "1 person" : `${figures.persons} people`;
  const text = figures.state === "live" ? `Skeletons: ${people} in view` : STATES[figures.state];
  if (text === spoken || Date.now() - spokenAt < 5000) return;
  spoken = text;
  spokenAt = Date.now();
  canvas.setAttribute("aria-label", text);
}

function showDrift(drift) {
  const box = byId("drift");
  const level = drift.length ? "warn" : "none";
  if (box.dataset.level === level && box.dataset.names === drift.map((d) => d.feature).join()) return;
  box.dataset.level = level;
  box.dataset.names = drift.map((d) => d.feature).join();
  const names = drift.map((d) => DRIFT_WORDS[d.feature] || d.feature.replaceAll("_", " "));
  byId("drift-title").textContent = drift.length ? "What the camera shows has changed" : "Does the camera see what it should?";
  byId("drift-text").textContent = drift.length
    ? `Different from what the model learned: ${names.join(", ")}. Its answers may be worse. Please tell whoever looks after this device.`
    : "Nothing unusual was reported so far.";
}

// A figure of before is not shown as if it were one of now.
function forget() {
  for (const id of ["persons", "fps", "latency", "temperature"]) say(id, null, 0);
  for (const id of ["slowest", "no-temperature"]) byId(id).textContent = "";
  byId("slow").hidden = true;
}

function showCamera(event) {
  const text = CAMERA_WORDS[event] || "";
  byId("camera").hidden = text === "";
  if (byId("camera-text").textContent !== text) byId("camera-text").textContent = text;
}

function showFigures(figures) {
  ended = figures.state === "ended";
  setState(figures.state);
  if (ended) source.close();
  if (paused && !ended) return;
  showCamera(figures.camera);
  if (figures.state !== "live") {
    forget();
    showDrift(figures.drift);
    speak(figures);
    return;
  }
  say("persons", figures.persons, 0);
  say("fps", figures.fps, figures.fps !== null && figures.fps < 10 ? 1 : 0);
  say("latency", figures.latency_p50_ms, 0);
  byId("slowest").textContent =
    figures.latency_p95_ms === null ? "" : `19 of 20 frames within ${figures.latency_p95_ms.toFixed(0)} ms`;
  say("temperature", figures.temperature_celsius, 0);
  byId("celsius").hidden = figures.temperature_celsius === null;
  byId("no-temperature").textContent = figures.temperature_celsius === null ? "This device has no sensor." : "";
  byId("dropped").textContent = figures.dropped
    ? `${figures.dropped} frames were left out, because newer ones were there.` : "";
  byId("slow").hidden = figures.limit_fps === null;
  if (figures.limit_fps !== null) {
    byId("slow-text").textContent =
      `At most ${figures.limit_fps.toFixed(1)} frames a second, so that the device stays cool and has time.`;
  }
  showDrift(figures.drift);
  speak(figures);
}

function listen() {
  if (source !== null) source.close();
  source = new EventSource("events");
  source.addEventListener("poses", (event) => {
    if (paused) return;
    view = JSON.parse(event.data);
    redraw();
  });
  source.addEventListener("figures", (event) => showFigures(JSON.parse(event.data)));
  source.addEventListener("error", () => {
    if (ended) return;
    setState("lost");
    forget();
    // A browser gives up on its own when the server answers with an error.
    if (source.readyState === EventSource.CLOSED) window.setTimeout(listen, 3000);
  });
}

byId("pause").addEventListener("click", () => {
  paused = !paused;
  byId("pause").setAttribute("aria-pressed", String(paused));
  byId("pause").textContent = paused ? "Go on" : "Pause";
  setState(document.body.dataset.state);
});
// A page that nobody sees costs the device nothing.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) source.close();
  else if (!ended) listen();
});
window.addEventListener("resize", redraw);
dark.addEventListener("change", redraw);
listen();
