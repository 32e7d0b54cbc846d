"""The monitor: what is believed of the offset, from what sinks did; UNKNOWN where that is too little."""
