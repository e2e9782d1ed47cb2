-- Who did it. The feed is made again from the log, which fills this in.
ALTER TABLE activity_feed ADD COLUMN actor TEXT NOT NULL DEFAULT '';
