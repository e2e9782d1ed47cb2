-- Better titles than the beginning of a description: references to content. A conversation whose first
-- message is an idea's description shows the idea's title.
ALTER TABLE idea_board ADD COLUMN title TEXT;
CREATE INDEX idea_board_by_session ON idea_board (session);
