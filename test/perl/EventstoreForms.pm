# Calls of EventstoreCalls that do more than write what was decided before: lock, read,
# decide in the database, send a request again.

package EventstoreForms;

use strict;
use warnings;

use Exporter 'import';
use JSON::PP;

our @EXPORT_OK = qw(one_of chance answer $TICK $COLUMNS);

my $JSON = JSON::PP->new->canonical;

# What the clients need in their database.  The deciding functions say in the data
# of their events what they have seen, and leave a note that must share the fate of
# the events.
our $SETUP = q(
CREATE SCHEMA clients;
CREATE SEQUENCE clients.ticks;
CREATE TABLE clients.notes (op text);

CREATE FUNCTION clients.events(command jsonb, facts jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_agg(jsonb_build_object('type', 'op',
				'data', jsonb_build_object('op', command->'op', 'n', n) || facts,
				'metadata', jsonb_build_object('tx', command->'tx'),
				'tags', command->'tags') ORDER BY n)
	FROM generate_series(1, (command->>'n')::integer) n
$$;

CREATE FUNCTION clients.decide(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO clients.notes SELECT $3->>'op' WHERE $3->>'n' <> '0';
	RETURN clients.events($3, jsonb_build_object('saw', $2, 'read', (SELECT count(*) FROM es_read($1))));
END $$;

CREATE FUNCTION clients.decide_many(command jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	after bigint := CASE WHEN command ? 'query'
		THEN (SELECT coalesce(max(position), 0) FROM es_query(command->'query')) END;
	conditions jsonb := CASE WHEN command ? 'query'
		THEN jsonb_build_array(jsonb_build_object('query', command->'query', 'after', after)) END;
BEGIN
	INSERT INTO clients.notes SELECT w->>'op' FROM jsonb_array_elements(command->'writes') w WHERE w->>'n' <> '0';
	RETURN (SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object('key', w->'key', 'expected_version', v,
				'events', clients.events(w, jsonb_build_object('saw', v, 'read', v, 'after', after)),
				'conditions', CASE WHEN i = 1 THEN conditions END)) ORDER BY i)
			FROM jsonb_array_elements(command->'writes') WITH ORDINALITY AS x (w, i), es_version(w->>'key') v);
END $$;
);

# Draw a tick.
our $TICK = "SELECT 'C', nextval('clients.ticks');\n";

sub one_of
{
	return $_[ rand @_ ];
}

sub chance
{
	my ($probability) = @_;
	return rand() < $probability;
}

# The columns of a result.
our $COLUMNS = "entry, coalesce(key, '-'), status, coalesce(version::text, '-'), "
  . "coalesce(first_position::text, '-'), coalesce(last_position::text, '-')";

# The record of an answer.  The details of an error go to where its message goes.
sub answer
{
	my ($att) = @_;
	return "\\echo D $att :SQLSTATE\n\\if :ERROR\n\\warn F $att\n\\endif\n";
}

# Lock first, then append what the lock says: inside a transaction that never
# fails for the version.  As a statement of its own the lock is gone with it, so
# the append follows in the same transaction only in a block.
sub _lock_call
{
	my ($self, $att, $tx, $n, $before) = @_;
	my ($entry) = $self->_entries('append', $att, $n);
	my $t = $self->{transactions}{$tx};

	$entry->{mode} = $t->{block} ? 'locked' : 'any';
	$entry->{variable} = $t->{block} ? 'x1' : undef;
	$self->_remember($att, $tx, 'append', undef, $entry);
	return $before . $self->_statement($att, $tx, $n, 'append', undef, $entry)
	  if !$t->{block};

	# If the lock or the look after it fails, so does the rest of the transaction;
	# the version is then recorded as -1.
	return
		"SELECT 'L', '$att', key, version FROM es_lock(ARRAY['$entry->{key}']);\n$TICK"
	  . "\\set x1 -1\n\\set s1 -\n"
	  . "SELECT v AS x1, v AS s1 FROM es_version('$entry->{key}') v \\gset\n"
	  . "\\echo S $att~v $entry->{key} :s1\n\\echo V $att 1 :x1\n$TICK"
	  . $self->_statement($att, $tx, $n, 'append', undef, $entry);
}

# Only read: several aggregates at one moment, or one with its events.
sub _read_call
{
	my ($self, $att, $tx, $n, $before) = @_;
	my $key = $self->_key($n);
	my $form = one_of(qw(versions versions read load));
	my $statement;

	if ($form eq 'versions')
	{
		my %keys = map { $self->_key($n) => 1 } 1 .. 6;

		$statement = "SELECT 'S', '$att~r', k, coalesce(version, 0) FROM unnest(ARRAY["
		  . join(', ', map { "'$_'" } sort keys %keys)
		  . "]) k LEFT JOIN $self->{store}.es_aggregates ON key = k;\n";
	}
	elsif ($form eq 'read')
	{
		$statement = "SELECT 'G', '$att~r', '$key', 0, count(*), coalesce(string_agg(position::text, ','), '-') FROM es_read('$key');\n";
	}
	else
	{
		$statement =
			"SELECT 'G', '$att~r', '$key', coalesce((state->>'version')::bigint, 0), version, "
		  . "coalesce((SELECT string_agg(e->>'position', ',') FROM jsonb_array_elements(events) e), '-') FROM es_load('$key');\n";
		# What was read now is what the next one need not read.
		$before = "SELECT es_save_snapshot('$key', v, jsonb_build_object('version', v)) IS NULL FROM es_version('$key') v WHERE v > 0;\n$TICK$before"
		  if $self->{transactions}{$tx}{level} eq 'read committed' && chance(0.2);
	}
	$self->_remember($att, $tx, 'read', undef);
	return $before . $statement . answer($att);
}

# Decide in the database.
sub _execute_call
{
	my ($self, $form, $att, $tx, $n, $before, $request, @entries) = @_;
	my $retries = one_of(0, 1, 1, 3);
	my $statement;

	if (!@entries)
	{
		my %used;
		my $count = $form eq 'execute' ? 1 : 1 + int(rand(3));

		@entries = grep { !$used{ $_->{key} }++ } $self->_entries('execute', $att, $n);
		splice @entries, $count if @entries > $count;
		$entries[$_]{entry} = $_ + 1 foreach 0 .. $#entries;
	}
	foreach my $e (@entries)
	{
		$e->{mode} = 'decided';
		$e->{guard} = 1 if $form eq 'execute_many' && $e != $entries[0] && !defined $request && chance(0.3);
	}
	my @commands = map {
		{
			key => $_->{key},
			op => $_->{op},
			n => $_->{guard} ? 0 : $_->{n},
			tx => $tx,
			tags => [ $self->_tags($n) ]
		}
	} @entries;
	my $request_arg = defined $request ? ", request_id => '$request'" : '';

	if ($form eq 'execute')
	{
		$commands[0]{n} = $entries[0]{n} = 0 if !defined $request && chance(0.1);
		$statement = "SELECT 'R', '$att', 1, '$entries[0]{key}', status, version, '-', '-' FROM es_execute('$entries[0]{key}', 'clients.decide', '"
		  . $JSON->encode($commands[0])
		  . "', $retries$request_arg);\n";
	}
	else
	{
		my %command = (writes => \@commands);

		# Of what it decides by, the command's keys are all.
		if (chance(0.4))
		{
			$command{query} = $self->_query($n);
			$entries[0]{conditions} = [ { query => $command{query}, after => 'decided' } ];
		}
		$statement = "SELECT 'R', '$att', $COLUMNS FROM es_execute_many(ARRAY["
		  . join(', ', map { "'$_->{key}'" } @entries)
		  . "], 'clients.decide_many', '"
		  . $JSON->encode(\%command)
		  . "', $retries$request_arg) ORDER BY entry;\n";
	}
	$self->_remember($att, $tx, $form, $request, @entries);
	$self->{attempt}{$att}{retries} = $retries;
	return $before . $statement . answer($att);
}

# A request: what it writes is decided once, then it is sent by anybody, as often
# as it happens, sometimes with other events by mistake (variant b: other data,
# variant c: also one more).  Those of es_execute() come by it alone, and have no
# variants: their events are known to the server only.
sub _request_call
{
	my ($self, $att, $tx, $n, $before) = @_;
	my $unknown = $self->{unknown_requests} || [];
	my $level = $self->{transactions}{$tx}{level};
	my $name = @$unknown
	  && chance(0.5) ? one_of(@$unknown) : "req-$self->{round}-" . int($n / 4 + rand(3));
	my $variant = chance(0.9) ? 'a' : one_of('b', 'c');
	my $request = $self->{requests}{$name} ||= {
		count => chance(0.6) ? 1 : 2 + int(rand(2)),
		executed => chance(0.3),
		keys => [ map { $self->_key($n) } 1 .. 3 ],
		n => [ map { 1 + int(rand(3)) } 1 .. 3 ]
	};

	my @chosen = 0 .. $request->{count} - 1;

	# Deciders want to write each aggregate once, and a repeat is told in key order.
	if ($request->{executed})
	{
		my %used;

		$variant = 'a';
		@chosen = sort { $request->{keys}[$a] cmp $request->{keys}[$b] }
		  grep { !$used{ $request->{keys}[$_] }++ } @chosen;
	}

	my $entry = 0;
	my @entries = map {
		{
			entry => ++$entry,
			key => $request->{keys}[$_],
			op => "$name$variant.$entry",
			n => $request->{n}[$_] + ($variant eq 'c' ? 1 : 0),
			mode => 'any',
			guard => 0
		}
	} @chosen;

	if ($request->{executed})
	{
		return $self->_read_call($att, $tx, $n, $before) if $level ne 'read committed';
		return $self->_execute_call($request->{count} > 1 ? 'execute_many' : 'execute',
			$att, $tx, $n, $before, $name, @entries);
	}
	my $form =
	  $request->{count} > 1
	  ? one_of(qw(many try_many))
	  : one_of(qw(append try_append each));

	$self->_remember($att, $tx, $form, $name, @entries);
	return $before . $self->_statement($att, $tx, $n, $form, $name, @entries);
}

1;
