-- What a call held at first and each time it held more, for its receipt; nothing where it was held once.
ALTER TABLE requests ADD COLUMN hold_steps TEXT;
