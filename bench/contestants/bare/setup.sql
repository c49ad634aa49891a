-- The very tables of a store, without the extension and its guard: what a bulk INSERT into
-- them costs.

\ir ../eventstore/setup.sql
DROP EXTENSION eventstore CASCADE;
