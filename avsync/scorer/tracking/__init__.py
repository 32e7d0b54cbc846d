"""From a media file to faces: decoding by time stamps, face tracking, mouth crops."""
