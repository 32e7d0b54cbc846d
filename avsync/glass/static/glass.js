// What a viewer sees and hears, written down: every new frame with the blocks of its strip, every sample of sound
// with its place in the audio context, and what the browser says about itself. Nothing is judged here: Python takes
// all of it once a second and forgets nothing; what is not taken for long is dropped here, oldest first.

const COLUMNS = 20, ROWS = 2, CELL = 8; // avsync/glass/strip.py: twenty blocks in two rows, a fifteenth of the height each
const SOURCES_EVERY_MS = 20, CLOCK_EVERY_MS = 100, STATS_EVERY_MS = 1000;
const KEEP = { frames: 3000, pcm: 1200, clock: 600, sources: 3000, stats: 60 };

const video = document.getElementById("video");
const canvas = document.createElement("canvas");
canvas.width = COLUMNS * CELL;
canvas.height = ROWS * CELL;
const context2d = canvas.getContext("2d", { willReadFrequently: true });
let seen = empty();
let pc = null;

function empty() {
  return { frames: [], pcm: [], clock: [], sources: [], stats: [] };
}

function note(kind, what) {
  const list = seen[kind];
  list.push(what);
  if (list.length > KEEP[kind]) list.shift();
}

/** Everything since the last call, as plain JSON. */
export function take() {
  const taken = seen;
  seen = empty();
  taken.pcm = taken.pcm.map(([frame, samples]) => [frame, base64(samples)]);
  taken.now_ms = performance.now();
  taken.time_origin_ms = performance.timeOrigin;
  taken.connection = pc ? pc.connectionState : "new";
  return taken;
}

function base64(samples) {
  const bytes = new Uint8Array(samples.buffer);
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

/** Connects, plays and begins to write down. jitterBufferTargetMs: {audio, video}, null where it is left alone. */
export async function start({ offerUrl, jitterBufferTargetMs = {}, viewerModule = null }) {
  const audioContext = new AudioContext({ sampleRate: 48000, latencyHint: "interactive" });
  await audioContext.audioWorklet.addModule(await asBlob(new URL("./tap.js", import.meta.url)));
  pc = new RTCPeerConnection();
  const receivers = {};
  for (const kind of ["audio", "video"]) {
    receivers[kind] = pc.addTransceiver(kind, { direction: "recvonly" }).receiver;
    const target = jitterBufferTargetMs[kind];
    if (target !== null && target !== undefined) receivers[kind].jitterBufferTarget = target;
  }
  const channel = viewerModule ? pc.createDataChannel("avsync", { ordered: true }) : null;
  pc.ontrack = (event) => {
    // Both tracks of one stream into one element: the browser aligns them as it does on any page.
    if (video.srcObject !== event.streams[0]) video.srcObject = event.streams[0];
    if (event.track.kind === "audio") listen(audioContext, event.track);
  };
  await signal(offerUrl);
  video.requestVideoFrameCallback(look);
  setInterval(() => noteSources(receivers.audio), SOURCES_EVERY_MS);
  setInterval(() => noteClock(audioContext), CLOCK_EVERY_MS);
  setInterval(noteStats, STATS_EVERY_MS);
  if (viewerModule) (await import(viewerModule)).report(pc, video, channel);
  await Promise.all([audioContext.resume(), video.play()]);
  return { userAgent: navigator.userAgent, sampleRate: audioContext.sampleRate };
}

/** A worklet's own request goes past whoever serves this page's files (avsync/glass/probe.py): fetch it here. */
async function asBlob(address) {
  const text = await (await fetch(address)).text();
  return URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
}

async function signal(offerUrl) {
  await pc.setLocalDescription(await pc.createOffer());
  if (pc.iceGatheringState !== "complete") {
    await new Promise((resolve) => {
      pc.onicegatheringstatechange = () => pc.iceGatheringState === "complete" && resolve();
    });
  }
  const { sdp, type } = pc.localDescription;
  const answer = await fetch(offerUrl, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ sdp, type }),
  });
  if (!answer.ok) throw new Error(`${offerUrl} answered ${answer.status}: ${(await answer.text()).slice(0, 300)}`);
  await pc.setRemoteDescription(await answer.json());
}

function listen(audioContext, track) {
  const source = audioContext.createMediaStreamSource(new MediaStream([track]));
  const tap = new AudioWorkletNode(audioContext, "tap", { numberOfInputs: 1, numberOfOutputs: 1 });
  tap.port.onmessage = ({ data }) => note("pcm", [data.frame, data.samples]);
  source.connect(tap).connect(audioContext.destination); // the tap's output is silence, but it must be pulled
}

function look(now, frame) {
  video.requestVideoFrameCallback(look);
  const high = 2 * Math.max(1, Math.floor(frame.height / 15));
  context2d.drawImage(video, 0, 0, frame.width, high, 0, 0, canvas.width, canvas.height);
  note("frames", [
    now,
    frame.presentationTime,
    frame.expectedDisplayTime,
    frame.mediaTime,
    frame.presentedFrames,
    frame.rtpTimestamp ?? null,
    levels(context2d.getImageData(0, 0, canvas.width, canvas.height).data),
  ]);
}

/** Mean brightness of the middle of each block, two hex digits each, row by row. */
function levels(rgba) {
  let text = "";
  for (let row = 0; row < ROWS; row++) {
    for (let column = 0; column < COLUMNS; column++) {
      let sum = 0;
      for (let y = CELL / 4; y < (3 * CELL) / 4; y++) {
        for (let x = CELL / 4; x < (3 * CELL) / 4; x++) {
          const at = ((row * CELL + y) * canvas.width + column * CELL + x) * 4;
          sum += rgba[at] + rgba[at + 1] + rgba[at + 2];
        }
      }
      text += Math.round(sum / (3 * (CELL / 2) ** 2)).toString(16).padStart(2, "0");
    }
  }
  return text;
}

function noteSources(receiver) {
  const newest = receiver.getSynchronizationSources()[0];
  if (newest) note("sources", [performance.now(), newest.timestamp, newest.rtpTimestamp]);
}

function noteClock(audioContext) {
  const { contextTime, performanceTime } = audioContext.getOutputTimestamp();
  if (performanceTime > 0) note("clock", [contextTime, performanceTime]);
}

async function noteStats() {
  const report = { now_ms: performance.now() };
  for (const entry of (await pc.getStats()).values()) {
    if (entry.type === "inbound-rtp") report[entry.kind] = entry;
  }
  note("stats", report);
}
