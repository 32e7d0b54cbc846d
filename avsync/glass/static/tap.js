// Every sample of the left channel, with the number of the context's frame that it is.
const BATCH = 2400; // 50 ms a message

class Tap extends AudioWorkletProcessor {
  constructor() {
    super();
    this.batch = new Int16Array(BATCH);
    this.filled = 0;
    this.first = 0;
  }

  process(inputs, outputs) {
    const channel = inputs[0][0];
    const count = outputs[0][0].length;
    // A batch begins anew where the context has skipped a quantum: a gap must not shift what comes after it.
    if (this.filled && this.first + this.filled !== currentFrame) this.send();
    for (let at = 0; at < count; at++) {
      if (!this.filled) this.first = currentFrame + at;
      const sample = channel ? Math.round(channel[at] * 32767) : 0;
      this.batch[this.filled++] = Math.max(-32768, Math.min(32767, sample));
      if (this.filled === BATCH) this.send();
    }
    return true;
  }

  send() {
    this.port.postMessage({ frame: this.first, samples: this.batch.slice(0, this.filled) });
    this.filled = 0;
  }
}

registerProcessor("tap", Tap);
