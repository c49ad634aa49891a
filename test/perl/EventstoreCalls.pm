# Random calls of the functions of the extension, as scripts for psql that record
# what they were told: see EventstoreClients.
#
# Between any two steps a script draws a tick of a clock, a sequence.  What ended
# before a tick was drawn came before everything that began after it: that is all
# that a checker needs to know of time.

package EventstoreCalls;

use strict;
use warnings;

use parent 'EventstoreForms';

use EventstoreForms qw(one_of chance answer $TICK $COLUMNS);
use JSON::PP;

my $JSON = JSON::PP->new->canonical;

# How often each form of a call comes.
our @FORMS = qw(append append try_append try_append many many try_many try_many each
  guarded tagged tagged tagged lock request request read read execute execute execute_many);

# A transaction: what is around the calls.
sub transaction
{
	my ($self, $tx, $round, $n, $opt) = @_;
	my $level = one_of(@{ $opt->{levels} });
	my $calls = 1 + int(rand($opt->{calls}));
	my $block = $calls > 1 || chance(0.5);

	$self->{transactions}{$tx} = {
		round => $round,
		level => $level,
		calls => $calls,
		block => $block,
		ops => [],
		outcome => 'aborted'
	};

	# A client whose SET, BEGIN or ROLLBACK failed (it may be cancelled) would do
	# something else from then on than what is remembered here.
	my $give_up = "\\if :ERROR\n\\quit\n\\endif\n";

	return
		"SET default_transaction_isolation = '$level';\n$give_up"
	  . $self->_call($tx, 1, $n, "\\echo T $tx\n")
	  . "\\echo E $tx :SQLSTATE\n$TICK"
	  if !$block;

	# The first tick takes the snapshot of a transaction that has only one.
	my $script = "BEGIN ISOLATION LEVEL $level;\n$give_up\\echo B $tx\n$TICK";
	$script .= $self->_call_in_block($tx, $_, $n) foreach 1 .. $calls;

	# Room for others to come between.
	$script .= "SELECT pg_sleep(0.01 * random());\n$TICK" if chance(0.3);
	return $script . "ROLLBACK;\n$give_up$TICK" if chance(0.15);
	return $script . "\\echo T $tx\nCOMMIT;\n\\echo E $tx :SQLSTATE\n$TICK";
}

# Half of the calls in savepoints, some of which are given up though the call was
# answered.
sub _call_in_block
{
	my ($self, $tx, $call, $n) = @_;
	my $if = chance(0.2) ? "\\if true" : "\\if :ERROR";

	return $self->_call($tx, $call, $n, '') . $TICK if chance(0.5);
	return
		"SAVEPOINT s;\n"
	  . $self->_call($tx, $call, $n, '')
	  . "$if\nROLLBACK TO SAVEPOINT s;\n\\echo X $tx/$call\n\\endif\n"
	  . "RELEASE SAVEPOINT s;\n$TICK";
}

# A key: mostly of those that everybody fights for, else one that the clients
# come by at about the same time and that does not exist before.
sub _key
{
	my ($self, $n) = @_;

	return 'hot-' . int(rand($self->{keys})) if chance($self->{hot});
	return $self->_new_key($n);
}

sub _new_key
{
	my ($self, $n) = @_;
	return "new-$self->{round}-" . int($n / 3 + rand(3));
}

# A tag.  After a while the clients go on to others, so that each has few events.
sub _tag
{
	my ($self, $n, $kind) = @_;

	return "$kind-$self->{round}-" . int($n / 25) . '-' . int(rand($self->{tags}));
}

# A query, every item of which names a tag.
sub _query
{
	my ($self, $n) = @_;
	my @items = ({ tags => [ $self->_tag($n, 'course') ] });

	push @{ $items[0]{tags} }, $self->_tag($n, 'student') if chance(0.2);
	$items[0]{types} = [ 'op', 'other' ] if chance(0.1);
	$items[0]{categories} = ['hot'] if chance(0.2);
	push @items, { tags => [ $self->_tag($n, 'student') ] } if chance(0.2);
	return \@items;
}

sub _tags
{
	my ($self, $n) = @_;
	my @tags;

	push @tags, 'op' if chance(0.3);
	push @tags, $self->_tag($n, 'course') if chance(0.4);
	push @tags, $self->_tag($n, 'student') if chance(0.3);
	push @tags, map { "filler-$_" } 1 .. 70 if chance(0.01);
	return @tags;
}

# The events of one entry, as JSON.  The operation they belong to is in their
# data, the transaction in their metadata, which a resend need not repeat.
sub _events
{
	my ($self, $op, $tx, $n, $count) = @_;

	return $JSON->encode(
		[
			map {
				my @tags = $self->_tags($n);
				{
					type => 'op',
					data => { op => $op, n => $_ },
					metadata => { tx => $tx },
					@tags ? (tags => \@tags) : ()
				}
			} 1 .. $count
		]);
}

# One call: what is read before it, the call, and the record of its answer.
# $before comes right before the call itself.
sub _call
{
	my ($self, $tx, $call, $n, $before) = @_;
	my $att = "$tx/$call";
	my $form = one_of(@{ $self->{forms} });

	# Above READ COMMITTED there is nothing but an error to be had of these.
	$form = 'many'
	  if $form =~ /execute|tagged/
	  && $self->{transactions}{$tx}{level} ne 'read committed'
	  && !chance(0.05);

	return $self->_request_call($att, $tx, $n, $before) if $form eq 'request';
	return $self->_read_call($att, $tx, $n, $before) if $form eq 'read';
	return $self->_lock_call($att, $tx, $n, $before) if $form eq 'lock';
	return $self->_execute_call($form, $att, $tx, $n, $before) if $form =~ /execute/;

	my $tagged = $form eq 'tagged';
	$form = one_of(qw(many many try_many each)) if $tagged;
	my @entries = $form eq 'guarded' ? $self->_guarded($att, $n) : $self->_entries($form, $att, $n);
	$form = 'many' if $form eq 'guarded';
	my ($queries, $conditions) = $tagged ? $self->_conditions($att, $n, \@entries) : ('', '');
	my ($reads, $record) = $self->_reads($att, @entries);

	$reads = $queries . $reads;
	$record .= $conditions;
	$self->_remember($att, $tx, $form, undef, @entries);
	return $reads . $record . $before . $self->_statement($att, $tx, $n, $form, undef, @entries);
}

sub _entries
{
	my ($self, $form, $att, $n) = @_;
	my $count = $form =~ /append/ ? 1 : 1 + int(rand(4));
	my @entries = map {
		{
			entry => $_,
			key => $self->_key($n),
			op => "$att.$_",
			n => 1 + int(rand(3)),
			mode => one_of(qw(any any exact exact exact stale absent existing)),
			guard => $form =~ /many/ && chance(0.3) ? 1 : 0
		}
	} 1 .. $count;

	# Now and then more guards than keys are locked one by one.
	if ($form =~ /many/ && chance(0.01))
	{
		push @entries,
		  map {
			{
				entry => $count + $_,
				key => "new-$self->{round}-" . int($n / 3 + $_ / 30) . ($_ % 30 ? "-$_" : ''),
				op => '-',
				n => 0,
				mode => 'absent',
				guard => 1
			}
		  }
		  1 .. 70;
	}
	return @entries;
}

# A write to one aggregate that relies on another, which is rather one that does not
# exist before.
sub _guarded
{
	my ($self, $att, $n) = @_;
	my ($guard, $write) = map { ($self->_entries('append', $att, $n))[0] } 1 .. 2;

	$guard->{guard} = 1;
	$guard->{key} = $self->_new_key($n) if chance(0.5);
	$guard->{mode} = one_of(qw(absent absent absent exact existing));
	$write->{entry} = 2;
	$write->{op} = "$att.2";
	return ($guard, $write);
}

# Read the versions to expect.
sub _reads
{
	my ($self, $att, @entries) = @_;
	my @reads;
	my ($set, $seen, $record) = ('', '', '');

	foreach my $e (@entries)
	{
		my $i = $e->{entry};

		if ($e->{mode} eq 'exact' || $e->{mode} eq 'stale')
		{
			$e->{variable} = "x$i";
			push @reads, "v$i AS s$i, " . ($e->{mode} eq 'stale' ? "abs(v$i - 1)" : "v$i") . " AS x$i";
			$set .= "\\set x$i 0\n\\set s$i -\n";
			$seen .= "\\echo S $att~v $e->{key} :s$i\n";
			$record .= "\\echo V $att $i :x$i\n";
		}
		elsif ($e->{mode} eq 'absent')
		{
			$record .= "\\echo V $att $i 0\n";
		}
	}
	return ('', $record) if !@reads;

	my @from = map { $_->{variable} ? "es_version('$_->{key}') v$_->{entry}" : () } @entries;
	return ("${set}SELECT " . join(', ', @reads) . ' FROM ' . join(', ', @from) . " \\gset\n$seen$TICK",
		$record);
}

# Give some of the entries conditions, and read with their queries.
sub _conditions
{
	my ($self, $att, $n, $entries) = @_;
	my ($reads, $record) = ('', '');
	my $q = 0;

	foreach my $e (@$entries)
	{
		next if $q && chance(0.6);
		foreach (1 .. (chance(0.15) ? 2 : 1))
		{
			my $query = $self->_query($n);
			my $json = $JSON->encode($query);
			my $after = one_of('q', 'q', 'q', 'q', 'q', 'q', 'greatest(q - 1, 0)', 0);

			$q++;
			push @{ $e->{conditions} }, { query => $query, variable => "a$q" };
			$reads .= "\\set a$q 0\n\\set q$q -\n\\set p$q -\n"
			  . "SELECT $after AS a$q, q AS q$q, p AS p$q "
			  . "FROM (SELECT coalesce(max(position), 0) AS q, coalesce(string_agg(position::text, ','), '-') AS p "
			  . "FROM es_query('$json')) r \\gset\n"
			  . "\\echo Q $att~q$q :q$q :p$q\n$TICK";
			$record .= "\\echo A $att $e->{entry} :a$q\n";
			$self->{queries}{"$att~q$q"} = $query;
		}
		# A guard that is about no aggregate.
		if ($e->{guard} && chance(0.5))
		{
			delete $e->{key};
			$e->{mode} = 'any';
		}
	}
	return ($reads, $record);
}

# The JSON of one entry, as the inside of an SQL literal.
sub _write
{
	my ($self, $tx, $n, $e, $request) = @_;
	my @fields;

	push @fields, qq("key": "$e->{key}") if defined $e->{key};
	push @fields, '"events": ' . $self->_events($e->{op}, $tx, $n, $e->{n})
	  if !$e->{guard};
	push @fields, qq("expected_version": ' || :$e->{variable} || ')
	  if $e->{variable};
	push @fields, '"expected_version": 0' if $e->{mode} eq 'absent';
	push @fields, '"allow_create": true'
	  if $e->{mode} eq 'any' && !$e->{guard};
	push @fields, qq("request_id": "$request") if defined $request;
	push @fields, '"conditions": [' . join(
		', ',
		map { '{"query": ' . $JSON->encode($_->{query}) . qq(, "after": ' || :$_->{variable} || '}) }
		  @{ $e->{conditions} }) . ']'
	  if $e->{conditions};
	return '{' . join(', ', @fields) . '}';
}

# The call itself and the record of its answer.
sub _statement
{
	my ($self, $att, $tx, $n, $form, $request, @entries) = @_;
	my $request_arg = defined $request ? ", request_id => '$request'" : '';
	my $statement;

	if ($form =~ /append/)
	{
		my $e = $entries[0];
		my $expected =
			$e->{variable} ? ":$e->{variable}"
		  : $e->{mode} eq 'absent' ? '0'
		  : 'NULL';
		my $create = $e->{mode} eq 'any' ? 'true' : 'false';
		my $call = "es_$form('$e->{key}', '"
		  . $self->_events($e->{op}, $tx, $n, $e->{n})
		  . "', $expected, $create$request_arg)";

		$statement =
		  $form eq 'append'
		  ? "SELECT 'R', '$att', 1, '$e->{key}', 'landed', $call, '-', '-';\n"
		  : "SELECT 'R', '$att', $COLUMNS FROM $call;\n";
	}
	else
	{
		my $function =
			$form eq 'many' ? 'es_append_many'
		  : $form eq 'try_many' ? 'es_try_append_many'
		  : 'es_append_each';
		my @writes = map { $self->_write($tx, $n, $_, $form eq 'each' ? $request : undef) } @entries;

		$request_arg = '' if $form eq 'each';
		$statement = "SELECT 'R', '$att', $COLUMNS FROM $function(('["
		  . join(', ', @writes)
		  . "]')::jsonb$request_arg) ORDER BY entry;\n";
	}
	return $statement . answer($att);
}

sub _remember
{
	my ($self, $att, $tx, $form, $request, @entries) = @_;

	push @{ $self->{attempts} },
	  { att => $att, tx => $tx, form => $form, request => $request, entries => \@entries };
	$self->{attempt}{$att} = $self->{attempts}[-1];
	foreach my $e (@entries)
	{
		$e->{att} = $att;
		push @{ $self->{entries} }, $e;
		$self->{entry}{"$att.$e->{entry}"} = $e;
	}
	return;
}

1;
