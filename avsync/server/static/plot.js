// The offset over the last minute, on a canvas. `add` values as they come (null leaves a gap), then `draw`.

const SECONDS = 60, LEFT = 44, RIGHT = 8, TOP = 8, BOTTOM = 20;
const BAND = [45, -125]; // ms: what people do not notice, ITU-R BT.1359
const STEPS = [25, 50, 100, 200, 250, 500, 1000, 2000, 5000];

export function makePlot(canvas, colours) {
  const series = new Map(Object.keys(colours).map((name) => [name, []]));

  function add(name, seconds, value) {
    const points = series.get(name);
    points.push([seconds, value]);
    while (points.length && points[0][0] < seconds - SECONDS - 2) points.shift();
  }

  function clear() {
    for (const points of series.values()) points.length = 0;
  }

  function draw(now) {
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);

    const reach = furthest() * 1.15;
    const x = (seconds) => LEFT + (width - LEFT - RIGHT) * (1 + (seconds - now) / SECONDS);
    const y = (ms) => TOP + (height - TOP - BOTTOM) * (1 - (ms + reach) / (2 * reach));

    pen.fillStyle = "#edf6ef";
    pen.fillRect(LEFT, y(BAND[0]), width - LEFT - RIGHT, y(BAND[1]) - y(BAND[0]));
    drawGrid(pen, width, height, reach, x, y, now);
    pen.save();
    pen.beginPath();
    pen.rect(LEFT, 0, width - LEFT, height);
    pen.clip();
    for (const [name, points] of series) drawLine(pen, points, colours[name], x, y);
    pen.restore();
  }

  function furthest() {
    let most = 140;
    for (const points of series.values()) {
      for (const [, value] of points) if (value !== null) most = Math.max(most, Math.abs(value));
    }
    return Math.min(most, 5000);
  }

  return { add, clear, draw };
}

function drawGrid(pen, width, height, reach, x, y, now) {
  const step = STEPS.find((each) => reach / each <= 4) || STEPS[STEPS.length - 1];
  pen.font = "12px system-ui, sans-serif";
  pen.lineWidth = 1;
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (let ms = -Math.floor(reach / step) * step; ms <= reach; ms += step) {
    pen.strokeStyle = ms === 0 ? "#9aa5b1" : "#e3e7ec";
    pen.beginPath();
    pen.moveTo(LEFT, Math.round(y(ms)) + 0.5);
    pen.lineTo(width - RIGHT, Math.round(y(ms)) + 0.5);
    pen.stroke();
    pen.fillStyle = "#586374";
    pen.fillText(ms > 0 ? `+${ms}` : `${ms}`.replace("-", "−"), LEFT - 7, y(ms));
  }
  pen.textBaseline = "alphabetic";
  for (const ago of [60, 40, 20, 0]) {
    pen.textAlign = ago === 60 ? "left" : ago === 0 ? "right" : "center";
    pen.fillText(ago ? `${ago} s ago` : "now", x(now - ago), height - 5);
  }
}

function drawLine(pen, points, colour, x, y) {
  pen.strokeStyle = colour;
  pen.fillStyle = colour;
  pen.lineWidth = 2;
  pen.lineJoin = "round";
  pen.beginPath();
  let drawing = false;
  for (const [seconds, value] of points) {
    if (value === null) {
      drawing = false;
    } else if (drawing) {
      pen.lineTo(x(seconds), y(value));
    } else {
      pen.moveTo(x(seconds), y(value));
      drawing = true;
    }
  }
  pen.stroke();
  const last = points[points.length - 1];
  if (last && last[1] !== null) {
    pen.beginPath();
    pen.arc(x(last[0]), y(last[1]), 3, 0, 7);
    pen.fill();
  }
}
