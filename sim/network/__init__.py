"""Networks: links, their queues, presets and impairments."""
