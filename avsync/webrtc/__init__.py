"""WebRTC over aiortc: a session that sends lips and voice together, and hears what became of them."""
