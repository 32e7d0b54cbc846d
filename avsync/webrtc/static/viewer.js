// What this viewer really gets, told to the sender once a second over a data channel.
//
//   import { startReports } from "./viewer.js";
//   const channel = pc.createDataChannel("avsync");            // before the offer
//   const reports = startReports(pc, videoElement, channel);   // reports.stop() when done
//
// What comes back is obeyed: {"v": 1, "sound": ms, "picture": ms}, how long each receiver should hold what it gets
// (jitterBufferTarget). What the page itself had set is the least that they hold.
//
// Works on any page with a <video> and an RTCPeerConnection. A browser that lacks one of the sources below sends what
// it has: what it cannot tell stays null, never 0. What is not sent in time is dropped, newest kept; a report is at
// most 16 KB. The fields are described where they are read: avsync/webrtc/viewers/reports.py.

const POLL_MS = 11; // no multiple or part of a packet's 20 ms: its first half is not always missed
const MAX_ENTRIES = 130; // per kind and report: 60 frames and 50 packets a second, twice
const MAX_BYTES = 16000;
const MAX_WAITING_BYTES = 64000;
const MAX_TARGET_MS = 4000; // more is refused by browsers
const MOVE_EVERY_MS = 100, MOVE_BY_MS = 5; // as fast as a browser stretches a voice

/**
 * intervalMs: how often. audioContext: if the sound is played through one, for its latency.
 * onReport(report): each report as it is sent, for the page itself.
 */
export function startReports(pc, video, channel, { intervalMs = 1000, audioContext = null, onReport = null } = {}) {
  const clock = new WallClock(), receivers = new Receivers(pc);
  let frames = [], sounds = [], lastRtp = null, hidden = document.hidden, number = 0, before = {}, running = true;

  const seen = (now, frame) => {
    if (!running) return;
    video.requestVideoFrameCallback(seen);
    keep(frames, frame.rtpTimestamp, frame.expectedDisplayTime ?? frame.presentationTime ?? now);
    listen();
  };
  const listen = () => {
    const source = newestSource(pc);
    if (!source || source.rtpTimestamp === undefined || source.rtpTimestamp === lastRtp) return;
    const playedMs = clock.pageTime(source.timestamp);
    if (playedMs === null) return;
    lastRtp = source.rtpTimestamp;
    keep(sounds, lastRtp, playedMs);
  };
  const noteHidden = () => (hidden ||= document.hidden);
  const hasFrames = typeof video.requestVideoFrameCallback === "function";

  const report = async () => {
    const stats = await readStats(pc);
    if (!running) return;
    const message = {
      v: 1,
      n: number++,
      now: rounded(performance.now()),
      hidden: hidden || document.hidden, // at any time since the last one
      asked: receivers.askedMs,
      told: [receivers.soundMs, receivers.goalMs],
      frames: hasFrames ? frames : null,
      sounds,
      latency: rounded(audioContext ? (audioContext.outputLatency ?? audioContext.baseLatency) * 1000 : NaN),
      audio: audioOf(stats.audio, before.audio),
      video: videoOf(stats.video, before.video),
    };
    frames = [];
    sounds = [];
    hidden = document.hidden;
    before = stats;
    receivers.heldMs = message.video?.target ?? 0;
    send(channel, message);
    if (onReport) onReport(message);
  };

  const told = ({ data }) => running && receivers.hold(targetsIn(data));
  channel?.addEventListener?.("message", told);
  document.addEventListener("visibilitychange", noteHidden);
  if (hasFrames) video.requestVideoFrameCallback(seen);
  const timers = [setInterval(listen, POLL_MS), setInterval(() => report().catch(() => {}), intervalMs)];
  return {
    stop() {
      running = false;
      timers.forEach(clearInterval);
      receivers.stop();
      channel?.removeEventListener?.("message", told);
      document.removeEventListener("visibilitychange", noteHidden);
    },
  };
}

export const report = startReports; // the name under which the glass probe looks for it

/** The targets in a message of the sender, ms; null: there are none in it. */
function targetsIn(data) {
  if (typeof data !== "string" || data.length > 200) return null;
  try {
    const { v, sound, picture } = JSON.parse(data);
    const right = (ms) => Number.isFinite(ms) && ms >= 0 && ms <= MAX_TARGET_MS;
    return v === 1 && right(sound) && right(picture) ? { sound, picture } : null;
  } catch {
    return null;
  }
}

/**
 * The receivers hold for at least this long. The sound's target is set at once, and its browser stretches the voice
 * until it is there; the pictures' goes along as fast as that, so that lips and voice stay together on the way.
 */
class Receivers {
  constructor(pc) {
    this.pc = pc;
    this.heldMs = 0; // by its pictures' buffer, as it said last
    this.soundMs = 0;
    this.goalMs = this.pictureMs = 0;
    this.least = new Map();
    this.timer = 0;
  }

  /** What the pictures' receiver is asked for now; null: this browser has no such lever. */
  get askedMs() {
    const lever = this.all().length > 0 && this.all().every((receiver) => "jitterBufferTarget" in receiver);
    return lever ? rounded(this.pictureMs) : null;
  }

  all() {
    return this.pc.getReceivers().filter((receiver) => ["audio", "video"].includes(receiver.track?.kind));
  }

  hold(targets) {
    if (targets === null || this.askedMs === null) return;
    const targetMs = targets.picture, still = this.pictureMs === this.goalMs;
    if (targetMs === this.goalMs && targets.sound === this.soundMs) return;
    this.soundMs = targets.sound;
    this.goalMs = targetMs;
    // From where its buffer is, not from nothing.
    if (still && targetMs > this.pictureMs) this.pictureMs = Math.min(Math.max(this.pictureMs, this.heldMs), targetMs);
    if (still) this.move();
  }

  move() {
    const short = this.goalMs - this.pictureMs;
    this.pictureMs += Math.max(-MOVE_BY_MS, Math.min(MOVE_BY_MS, short));
    for (const receiver of this.all()) {
      if (!this.least.has(receiver)) this.least.set(receiver, receiver.jitterBufferTarget ?? 0);
      const wantedMs = receiver.track.kind === "audio" ? this.soundMs : this.pictureMs;
      receiver.jitterBufferTarget = Math.max(wantedMs, this.least.get(receiver)) || null;
    }
    this.timer = this.pictureMs === this.goalMs ? 0 : setTimeout(() => this.move(), MOVE_EVERY_MS);
  }

  /** What the page itself had set is in force again. */
  stop() {
    clearTimeout(this.timer);
    for (const [receiver, leastMs] of this.least) receiver.jitterBufferTarget = leastMs || null;
  }
}

function keep(list, rtp, atMs) {
  if (rtp === undefined || rtp === null || !Number.isFinite(atMs)) return;
  list.push([rtp, rounded(atMs)]);
  if (list.length > MAX_ENTRIES) list.shift();
}

function rounded(ms) {
  return Number.isFinite(ms) ? Math.round(ms * 100) / 100 : null;
}

function newestSource(pc) {
  for (const receiver of pc.getReceivers()) {
    if (receiver.track?.kind === "audio" && receiver.getSynchronizationSources) {
      return receiver.getSynchronizationSources()[0] ?? null;
    }
  }
  return null;
}

/**
 * The times of getSynchronizationSources are wall clock in some browsers, page time in others. The wall clock may be
 * stepped or slewed while the page lives, so it is compared with the page's own all the time; what fits neither is
 * nobody's time.
 */
class WallClock {
  constructor() {
    this.ahead = null;
  }

  pageTime(stamp) {
    const now = performance.now();
    const ahead = Date.now() + 0.5 - now; // Date.now() is whole milliseconds, rounded down
    this.ahead = this.ahead === null || Math.abs(ahead - this.ahead) > 50 ? ahead : this.ahead + (ahead - this.ahead) / 64;
    const half = Number.isInteger(stamp) ? 0.5 : 0;
    for (const at of [stamp, stamp + half - this.ahead, stamp + half - performance.timeOrigin]) {
      if (at <= now + 5 && at > now - 1000) return at;
    }
    return null;
  }
}

async function readStats(pc) {
  const found = {};
  try {
    for (const entry of (await pc.getStats()).values()) {
      if (entry.type === "inbound-rtp") found[entry.kind] = entry;
    }
  } catch {
    // closed meanwhile
  }
  return found;
}

/** How much a counter grew since the last report; null where the browser has none, or has just begun. */
function grown(entry, before, name) {
  const difference = before ? entry[name] - before[name] : NaN;
  return Number.isFinite(difference) && difference >= 0 ? difference : null;
}

/** Mean over what was played since the last report, ms. */
function mean(entry, before, name) {
  const count = grown(entry, before, "jitterBufferEmittedCount"), sum = grown(entry, before, name);
  return count && sum !== null ? rounded((sum / count) * 1000) : null;
}

function buffer(entry, before) {
  return {
    depth: mean(entry, before, "jitterBufferDelay"),
    target: mean(entry, before, "jitterBufferTargetDelay"),
    minimum: mean(entry, before, "jitterBufferMinimumDelay"),
    playout: rounded(entry.estimatedPlayoutTimestamp || NaN), // 0 until the first sender report
    lost: grown(entry, before, "packetsLost"),
  };
}

function audioOf(entry, before) {
  if (!entry) return null;
  return {
    ...buffer(entry, before),
    samples: grown(entry, before, "totalSamplesReceived"),
    concealed: grown(entry, before, "concealedSamples"),
    silent: grown(entry, before, "silentConcealedSamples"),
  };
}

function videoOf(entry, before) {
  if (!entry) return null;
  const frozen = grown(entry, before, "totalFreezesDuration");
  return {
    ...buffer(entry, before),
    decoded: grown(entry, before, "framesDecoded"),
    dropped: grown(entry, before, "framesDropped"),
    freezes: grown(entry, before, "freezeCount"),
    frozen: frozen === null ? null : rounded(frozen * 1000),
  };
}

function send(channel, message) {
  if (!channel || channel.readyState !== "open" || channel.bufferedAmount > MAX_WAITING_BYTES) return;
  let text = JSON.stringify(message);
  while (text.length > MAX_BYTES) {
    // cannot happen with the bounds above; if it does, the older half goes
    message.frames = message.frames && message.frames.slice(Math.ceil(message.frames.length / 2));
    message.sounds = message.sounds.slice(Math.ceil(message.sounds.length / 2));
    if (!message.frames?.length && !message.sounds.length) return;
    text = JSON.stringify(message);
  }
  try {
    channel.send(text);
  } catch {
    // it closed just now
  }
}
