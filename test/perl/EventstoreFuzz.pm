# Random JSON (EventstoreJson) for the functions that take it: events, writes, queries
# and what a deciding function returns.
#
# The inputs go through the server in bulk.  What is right must do what it says, what is
# wrong must be refused with 22023, and nothing else may happen.

package EventstoreFuzz;

use strict;
use warnings;

use EventstoreJson;
use EventstoreTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# A procedure that tries inputs, each in a subtransaction that is then given up, and
# keeps those that did not end as they should.  What is right may be refused for the
# state of the store, by the codes of the contract.
my $DRIVER = q(
CREATE SCHEMA fuzz;
CREATE TABLE fuzz.inputs (n bigint, kind text, valid boolean, input text, key text);
CREATE TABLE fuzz.outcomes (kind text, valid boolean, state text, count bigint, PRIMARY KEY (kind, valid, state));
CREATE TABLE fuzz.findings (kind text, valid boolean, state text, message text, input text, key text);

CREATE FUNCTION fuzz.decide(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT command';
CREATE FUNCTION fuzz.decide_many(command jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT command';

-- The events at the end of an aggregate are those that were sent, with everything in them.
CREATE FUNCTION fuzz.check_events(sent_key text, last bigint, events jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	differing bigint;
BEGIN
	SELECT count(*) INTO differing
	FROM jsonb_array_elements(events) WITH ORDINALITY AS s (e, i)
		LEFT JOIN es_read(sent_key, greatest(last - jsonb_array_length(events) + 1, 1), last) r
			ON r.version = last - jsonb_array_length(events) + i
	WHERE (r.type = e->>'type'
		   AND r.data IS NOT DISTINCT FROM e->'data'
		   AND r.metadata IS NOT DISTINCT FROM e->'metadata'
		   AND to_jsonb(r.tags) IS NOT DISTINCT FROM e->'tags'
		   AND (r.id = (e->>'id')::uuid OR NOT e ? 'id')
		   AND (SELECT count(*) FROM app.es_tags t WHERE t.position = r.position)
			   = (SELECT count(DISTINCT x) FROM unnest(r.tags) x)) IS NOT TRUE;
	ASSERT differing = 0, format('%s events are not stored as they were sent', differing);
END $$;

-- The same for writes and the rows that they gave; a key may come twice.
CREATE FUNCTION fuzz.check_writes(writes jsonb, results es_append_result[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	ASSERT coalesce(cardinality(results), 0) = jsonb_array_length(writes), 'not one row for each write';
	PERFORM fuzz.check_events(r.key, r.version, w->'events')
	FROM jsonb_array_elements(writes) WITH ORDINALITY AS s (w, i) JOIN unnest(results) r ON r.entry = i
	WHERE r.status = 'appended';
END $$;

-- All ways to filter agree with the definition of a query.
CREATE FUNCTION fuzz.check_query(query jsonb, tagged boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	wanted bigint[];
	found bigint[];
	condition text := es_query_condition(query);
BEGIN
	SELECT array_agg(position ORDER BY position) INTO wanted
	FROM app.es_events e
	WHERE EXISTS (SELECT FROM jsonb_array_elements(query) i
				  WHERE coalesce(i->'types' ? e.type, true)
					AND coalesce(i->'categories' ? split_part(e.key, '-', 1), true)
					AND (NOT i ? 'tags' OR i->'tags' <@ coalesce(to_jsonb(e.tags), '[]')));
	SELECT array_agg(position) INTO found FROM es_read_all(0, 1000000, query);
	ASSERT found IS NOT DISTINCT FROM wanted, 'es_read_all() finds other events';
	EXECUTE format('SELECT array_agg(position ORDER BY position) FROM app.es_events WHERE %s', condition) INTO found;
	ASSERT found IS NOT DISTINCT FROM wanted, 'the condition finds other events';
	IF tagged THEN
		SELECT array_agg(position) INTO found FROM es_query(query);
		ASSERT found IS NOT DISTINCT FROM wanted, 'es_query() finds other events';
	ELSE
		PERFORM es_create_subscription('fuzz', query);
		SELECT array_agg(position ORDER BY position) INTO found FROM es_fetch('fuzz', 1000000) WHERE position IS NOT NULL;
		ASSERT found IS NOT DISTINCT FROM wanted, 'es_fetch() finds other events';
	END IF;
END $$;

CREATE FUNCTION fuzz.try(kind text, j jsonb, k text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	CASE kind
		WHEN 'events' THEN
			PERFORM fuzz.check_events(k, es_append(k, j, allow_create => true), j);
		WHEN 'request' THEN
			PERFORM fuzz.check_events('order-1', es_append('order-1', '[{"type": "t"}]', request_id => k), '[{"type": "t"}]');
			ASSERT (SELECT status = 'repeated' FROM es_try_append('order-1', '[{"type": "t"}]', 1, request_id => k));
			ASSERT (SELECT status = 'request_id_reused' FROM es_try_append('order-1', j, request_id => k));
		WHEN 'many' THEN
			PERFORM fuzz.check_writes(j, (SELECT array_agg(r) FROM es_append_many(j) r));
		WHEN 'try_many' THEN
			PERFORM fuzz.check_writes(j, (SELECT array_agg(r) FROM es_try_append_many(j, 'a request') r));
		WHEN 'each' THEN
			PERFORM fuzz.check_writes(j, (SELECT array_agg(r) FROM es_append_each(j) r));
		WHEN 'query' THEN
			PERFORM fuzz.check_query(j, false);
		WHEN 'tag_query' THEN
			PERFORM fuzz.check_query(j, true);
		WHEN 'decision' THEN
			PERFORM fuzz.check_events(k, version, j) FROM es_execute(k, 'fuzz.decide', j);
		WHEN 'decisions' THEN
			PERFORM fuzz.check_writes(j, (SELECT array_agg(r) FROM es_execute_many(ARRAY['order-1'], 'fuzz.decide_many', j) r));
	END CASE;
	RAISE EXCEPTION USING ERRCODE = 'FZ000', MESSAGE = 'good';
END $$;

CREATE PROCEDURE fuzz.run(refusals text) LANGUAGE plpgsql AS $$
DECLARE
	i fuzz.inputs;
	done integer := 0;
BEGIN
	FOR i IN SELECT * FROM fuzz.inputs ORDER BY n LOOP
		BEGIN
			PERFORM fuzz.try(i.kind, i.input::jsonb, i.key);
		EXCEPTION WHEN OTHERS OR assert_failure THEN
			INSERT INTO fuzz.outcomes VALUES (i.kind, i.valid, SQLSTATE, 1)
			ON CONFLICT ON CONSTRAINT outcomes_pkey DO UPDATE SET count = outcomes.count + 1;
			IF (i.valid AND SQLSTATE !~ refusals) OR (NOT i.valid AND SQLSTATE <> '22023') THEN
				INSERT INTO fuzz.findings VALUES (i.kind, i.valid, SQLSTATE, SQLERRM, i.input, i.key);
			END IF;
		END;
		done := done + 1;
		IF done % 500 = 0 THEN
			COMMIT;
		END IF;
	END LOOP;
	TRUNCATE fuzz.inputs;
END $$;
);

# Arguments: node, db, store; seed.
sub new
{
	my ($class, %arg) = @_;
	my $self = {
		n => 0,
		seed => $ENV{EVENTSTORE_TEST_SEED} // int(rand(1_000_000_000)),
		directory => PostgreSQL::Test::Utils::tempdir('fuzz'),
		%arg
	};

	note "random seed $self->{seed} (set EVENTSTORE_TEST_SEED to use it again)";
	srand($self->{seed});
	$self->{node}->safe_psql($self->{db}, $DRIVER);
	return bless $self, $class;
}

# Try so many inputs.  The server is at work when this returns; call it again, or wait.
sub run
{
	my ($self, $count) = @_;
	my $file = "$self->{directory}/inputs" . $self->{n};

	open my $fh, '>:encoding(UTF-8)', $file or die "$file: $!";
	print $fh "COPY fuzz.inputs FROM STDIN;\n";
	foreach (1 .. $count)
	{
		print $fh join("\t", $self->{n}++, map { EventstoreJson::copied($_) } EventstoreJson::input()), "\n";
	}
	print $fh "\\.\nCALL fuzz.run('^(?:FZ000|VE00[1-57])\$');\n";

	# Of what was given up, nothing but dead rows is left, in everybody's way.
	print $fh "VACUUM app.es_aggregates, app.es_events, app.es_tags, app.es_subscriptions;\n";
	close $fh;

	$self->wait;
	$self->{file} = $file;
	$self->{message} = '';
	$self->{running} = IPC::Run::start(
		[ program($self->{node}, 'psql'), '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $self->{node}->connstr($self->{db}), '-f', $file ],
		'2>', \$self->{message});
	return;
}

# Wait for the server; dies if it did not go on.
sub wait
{
	my ($self) = @_;
	my $running = delete $self->{running} or return;

	$running->finish or die "the driver ended: $self->{message}";
	unlink $self->{file};
	return;
}

# What did not end as it should, one a line.
sub findings
{
	my ($self) = @_;
	return $self->{node}->safe_psql($self->{db},
		q(SELECT format('%s, %s: %s %s: %s key %s', kind, CASE WHEN valid THEN 'right' ELSE 'wrong' END, state, message,
						left(input, 2000), left(key, 600))
		  FROM fuzz.findings LIMIT 5));
}

# How often each outcome came.
sub outcomes
{
	my ($self) = @_;
	return $self->{node}->safe_psql($self->{db},
		"SELECT format('%s, %s, %s: %s', kind, CASE WHEN valid THEN 'right' ELSE 'wrong' END, state, count) FROM fuzz.outcomes ORDER BY 1");
}

1;
