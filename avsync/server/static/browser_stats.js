// What the browser itself says of its two streams. A field that a browser does not have is null, never 0.

export async function readStats(pc, previous) {
  const totals = { audio: {}, video: {} };
  for (const report of (await pc.getStats()).values()) {
    if (report.type === "inbound-rtp" && totals[report.kind]) totals[report.kind] = report;
  }
  const { audio, video } = totals;
  const before = previous || { audio: {}, video: {} };
  return {
    totals,
    // Both in the sender's NTP time, so it is only as true as the sender's reports.
    claimMs: difference(audio.estimatedPlayoutTimestamp, video.estimatedPlayoutTimestamp),
    audio: track(pc, "audio", audio, before.audio),
    video: track(pc, "video", video, before.video),
    concealedMs: typeof audio.concealedSamples === "number" ? audio.concealedSamples / 48 : null,
    dropped: known(video.framesDropped),
    freezes: known(video.freezeCount),
    frozenMs: typeof video.totalFreezesDuration === "number" ? video.totalFreezesDuration * 1000 : null,
  };
}

function track(pc, kind, now, before) {
  const receiver = pc.getReceivers().find((each) => each.track && each.track.kind === kind);
  const asked = receiver ? receiver.jitterBufferTarget : null;
  return {
    depthMs: perUnit(now, before, "jitterBufferDelay"),
    targetMs: perUnit(now, before, "jitterBufferTargetDelay"),
    askedMs: typeof asked === "number" ? asked : null,
    lost: known(now.packetsLost),
  };
}

// Totals of seconds over what was emitted since we last looked: the mean of that second.
function perUnit(now, before, field) {
  const emitted = now.jitterBufferEmittedCount - (before.jitterBufferEmittedCount || 0);
  const seconds = now[field] - (before[field] || 0);
  return emitted > 0 && Number.isFinite(seconds) ? (1000 * seconds) / emitted : null;
}

const known = (value) => (typeof value === "number" ? value : null);
const difference = (a, b) => (typeof a === "number" && typeof b === "number" && a && b ? a - b : null);
