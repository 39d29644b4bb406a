"""A film and sentences -> masks of every frame, and the film with them drawn in: `evf-sam segment-video`."""
