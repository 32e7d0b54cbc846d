// The page of `avsync serve`: one connection, and once a second what is known about it from both ends.

import { makePlot } from "/plot.js";
import { readStats } from "/browser_stats.js";

const ABOUT = {
  "avsync": "One clock for voice and lips; the sender reports tell the truth, so your browser can repair what is late.",
  "naive-valve": "A strict rate, with the voice sent {ahead} ms before its pictures. The sender reports do not say so: compare the first two numbers.",
  "naive": "A queue and a clock for each track, and nothing that compares the two. Stalls are never repaired.",
};
const GATHER_MS = 1000;
const EVERY_MS = 1000;

const $ = (id) => document.getElementById(id);
const plot = makePlot($("plot"), { seen: "#1f6fb5", claim: "#b0701a", output: "#4c8a5a" });
const video = $("video");
let session = null;

// ---- starting and stopping

async function start() {
  const mine = (session = { pc: new RTCPeerConnection(), previous: null, timer: 0, viewer: "", stopReports: null });
  const { pc } = mine;
  setState("connecting…", false);
  say("");
  $("start").textContent = "Stop";
  $("curtain").hidden = false;
  $("curtain").textContent = "Connecting…";
  plot.clear();
  try {
    for (const kind of ["audio", "video"]) pc.addTransceiver(kind, { direction: "recvonly" });
    const channel = pc.createDataChannel("avsync", { ordered: false, maxRetransmits: 0 });
    // Both tracks in one stream: browsers keep lip sync only inside one.
    const stream = new MediaStream();
    pc.addEventListener("track", (event) => {
      stream.addTrack(event.track);
      video.srcObject = event.streams[0] || stream;
    });
    pc.addEventListener("connectionstatechange", () => mine === session && onState(mine));
    await pc.setLocalDescription(await pc.createOffer());
    await gathered(pc);
    const reply = await post("/offer", { type: "offer", sdp: pc.localDescription.sdp });
    if (mine !== session) return;
    mine.viewer = reply.viewer;
    await pc.setRemoteDescription({ type: "answer", sdp: reply.sdp });
    askToHold(pc, reply.hold_ms);
    describe(reply);
    await play();
    if (mine !== session) return;
    mine.stopReports = await startReporting(pc, channel);
    mine.timer = setInterval(() => look(mine).catch((error) => console.warn("look", error)), EVERY_MS);
    $("interrupt").disabled = false;
  } catch (error) {
    if (mine === session) {
      stop();
      say(`Could not start: ${error.message}`);
    }
  }
}

function stop() {
  if (!session) return;
  clearInterval(session.timer);
  if (session.stopReports) session.stopReports();
  session.pc.close();
  session = null;
  video.srcObject = null;
  setState("stopped", false);
  $("start").textContent = "Start";
  $("interrupt").disabled = true;
  $("unmute").hidden = true;
  $("curtain").hidden = false;
  $("curtain").textContent = "Press Start";
}

function onState(mine) {
  const state = mine.pc.connectionState;
  setState(state, state === "connected");
  if (state === "failed" || state === "closed") {
    stop();
    say("The connection is gone. Press Start to connect again.");
  }
}

// {audio, video} in ms. Chromium has jitterBufferTarget (ms), older ones playoutDelayHint (s); else nothing is held.
function askToHold(pc, holdMs) {
  if (!holdMs) return;
  for (const receiver of pc.getReceivers()) {
    const ms = receiver.track && holdMs[receiver.track.kind];
    if (typeof ms !== "number") continue;
    if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = ms;
    else if ("playoutDelayHint" in receiver) receiver.playoutDelayHint = ms / 1000;
  }
}

// A browser that does not let a page make noise unasked still lets it show pictures.
async function play() {
  try {
    await video.play();
  } catch (error) {
    if (error.name !== "NotAllowedError") return;
    video.muted = true;
    $("unmute").hidden = false;
    await video.play().catch(() => {});
  }
}

async function startReporting(pc, channel) {
  try {
    const viewer = await import("/viewer.js");
    const reports = viewer.startReports(pc, video, channel, { intervalMs: EVERY_MS });
    return () => (typeof reports === "function" ? reports() : reports && reports.stop && reports.stop());
  } catch (error) {
    console.warn("this page does not report what it sees:", error.message);
    return null;
  }
}

function gathered(pc) {
  if (pc.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    setTimeout(resolve, GATHER_MS);
    pc.addEventListener("icegatheringstatechange", () => pc.iceGatheringState === "complete" && resolve());
  });
}

async function post(path, body) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const reply = await response.json();
  if (!response.ok) throw new Error(reply.error || response.statusText);
  return reply;
}

async function interrupt() {
  $("interrupt").disabled = true;
  try {
    await post("/interrupt", {});
  } catch (error) {
    say(`Could not interrupt: ${error.message}`);
  }
  $("interrupt").disabled = !session;
}

// ---- once a second

async function look(mine) {
  const [server, browser] = await Promise.all([
    fetch(`/stats?viewer=${encodeURIComponent(mine.viewer)}`).then((response) => response.json()),
    readStats(mine.pc, mine.previous),
  ]);
  if (mine !== session) return;
  mine.previous = browser.totals;
  const stream = server.stream || {};
  const seen = server.seen || {}, output = stream.output || {};
  const now = performance.now() / 1000;
  plot.add("seen", now, number(seen.offset_ms));
  plot.add("claim", now, number(browser.claimMs));
  plot.add("output", now, number(output.offset_ms));
  plot.draw(now);
  showOffset("seen", seen, "unknown yet");
  showOffset("output", output, server.mode === "avsync" ? "unknown yet" : "such a server does not know");
  const trim = Math.round(number(stream.trim_ms) ?? 0);
  if (trim) put("output-more", `of it ${signed(-trim)} on purpose`);
  $("output-more").title = trim ? "the trim: what your browser leaves, taken away here" : "";
  put("claim", signed(browser.claimMs));
  showBrowser(browser);
  showServer(server, stream);
  if (video.videoWidth) $("curtain").hidden = true;
}

function showOffset(name, told, unknown) {
  const value = number(told.offset_ms);
  put(name, signed(value));
  $(name).classList.toggle("far", value !== null && (value > 45 || value < -125));
  const known = number(told.abs_p50_ms) !== null;
  put(`${name}-more`, known ? `p50 ${Math.round(told.abs_p50_ms)}, p95 ${Math.round(told.abs_p95_ms)}` : unknown);
}

function showBrowser(browser) {
  for (const kind of ["audio", "video"]) {
    put(`${kind}-depth`, ms(browser[kind].depthMs));
    put(`${kind}-target`, ms(browser[kind].targetMs));
    put(`${kind}-asked`, ms(browser[kind].askedMs));
    put(`${kind}-lost`, whole(browser[kind].lost));
  }
  put("concealed", browser.concealedMs === null ? "–" : ms(browser.concealedMs));
  put("dropped", `${whole(browser.dropped)} frames`);
  put("frozen", browser.freezes === null ? "–" : `${browser.freezes}×, ${ms(browser.frozenMs)}`);
}

function showServer(server, stream) {
  const producer = server.producer || {};
  put("queued-voice", ms(stream.buffered_ms));
  put("queued-pictures", whole(stream.pictures_queued));
  put("late", `${fine(stream.lateness_p50_ms)} · ${fine(stream.lateness_p95_ms)} ms`);
  put("fps", server.pictures_per_s === null ? "–" : `${server.pictures_per_s.toFixed(1)} per second`);
  put("producer", producer.state || "–");
  $("producer").title = producer.error || "";
  put("turns", `${whole(producer.turns)}, ${whole(producer.interrupted)}`);
  put("viewers", whole(server.viewers));
  if (producer.error) say(`The producer has stopped: ${producer.error}`);
}

// ---- words and numbers

const number = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);
const minus = (text) => text.replace("-", "−");

function signed(value) {
  if (number(value) === null) return "–";
  const rounded = Math.round(value);
  return minus(rounded > 0 ? `+${rounded}` : `${rounded}`);
}

const ms = (value) => (number(value) === null ? "–" : `${Math.round(value)} ms`);
const fine = (value) => (number(value) === null ? "–" : minus(value.toFixed(1)));
const whole = (value) => (number(value) === null ? "–" : `${value}`);

function put(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

function say(text) {
  put("message", text);
  $("message").hidden = !text;
}

function setState(text, live) {
  put("state", text);
  $("state").classList.toggle("live", live);
}

function describe(config) {
  put("mode", config.mode);
  $("mode").classList.toggle("naive", config.mode !== "avsync");
  const asked = [];
  if (config.voice_ahead_frames) asked.push(`voice ${config.voice_ahead_frames} frames early`);
  if (config.hold_ms) asked.push(`holding voice ${config.hold_ms.audio} ms, picture ${config.hold_ms.video} ms`);
  put("source", [config.source, `${Number(config.fps.toFixed(2))} fps`, ...asked].join(" · "));
  put("about-mode", (ABOUT[config.mode] || "").replace("{ahead}", Math.round(config.voice_ahead_ms)));
}

$("start").addEventListener("click", () => (session ? stop() : start()));
$("interrupt").addEventListener("click", interrupt);
$("unmute").addEventListener("click", () => {
  video.muted = false;
  $("unmute").hidden = true;
});
window.addEventListener("pagehide", stop);
window.addEventListener("resize", () => plot.draw(performance.now() / 1000));
plot.draw(performance.now() / 1000);
fetch("/config").then((response) => response.json()).then(describe).catch(() => say("The server does not answer."));
