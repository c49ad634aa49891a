# What follows from the answer to a call that writes: a part of EventstoreHistory.
#
# Each entry that was judged tells at which version its aggregate was.  What passed must
# be so when the call was answered and when its transaction commits; what was refused,
# when it was refused.

package EventstoreAnswers;

use strict;
use warnings;

# What each entry was told: status, version, first and last position, and what an
# error says beside.
sub _told
{
	my ($attempt) = @_;
	my %told;

	if ($attempt->{state} eq '00000')
	{
		foreach my $row (@{ $attempt->{results} || [] })
		{
			my (undef, $entry, undef, $status, $version, $first, $last) = @$row;

			$told{$entry} = { status => $status, version => $version eq '-' ? undef : $version };
			@{ $told{$entry} }{qw(first last)} = ($first, $last) if $first ne '-';
		}
		return \%told;
	}
	return if !$attempt->{conflicts};
	$told{ $_->{entry} } = { %$_, version => $_->{actual} } foreach @{ $attempt->{conflicts} };

	# Of the others nothing is said but that they would have passed.
	$told{ $_->{entry} } ||= { status => 'not_written' } foreach @{ $attempt->{entries} };
	return \%told;
}

sub _answer
{
	my ($self, $context, $attempt) = @_;
	my $told = _told($attempt);
	my %call = (
		attempt => $attempt,
		told => $told,
		base => {},
		moved => {},
		repeats => [],
		name => $attempt->{att},
		each => $attempt->{form} eq 'each');

	return if !$told;
	$self->{counts}{calls}++;
	foreach my $entry (@{ $attempt->{entries} })
	{
		my $t = $told->{ $entry->{entry} } or next;

		$t->{status} = $self->_landed_or_repeated($context, $attempt, $entry, $t) if $t->{status} eq 'landed';
	}
	$call{known} = grep { $_->{status} =~ /^(?:repeated|request_id_reused)$/ } values %$told
	  if !$call{each};

	foreach my $entry (@{ $attempt->{entries} })
	{
		my $t = $told->{ $entry->{entry} } or next;

		$self->_entry($context, \%call, $entry, $t);
	}
	$self->_note_call($context, \%call);
	return;
}

# es_append() does not say whether it repeats; the log does.
sub _landed_or_repeated
{
	my ($self, $context, $attempt, $entry, $told) = @_;
	my $request = $attempt->{request};

	return 'appended' if !defined $request;
	return 'repeated' if $context->{requests}{"$entry->{key} $request"};
	my $stored = $self->{log}->event($entry->{key}, $told->{version});

	return 'appended' if !$stored || ($stored->{request} // '') ne $request;
	return $stored->{tx} eq $context->{name} ? 'appended' : 'repeated'
	  if $context->{present} && !$attempt->{dropped};

	# Appended and given up, and again by another: who knows.
	$context->{unsure}{ $entry->{key} } = 1 if !$attempt->{dropped};
	return 'unsure';
}

# The version of the aggregate before the call, according to one entry; undef if it
# says nothing of that.
sub _version_before
{
	my ($call, $entry, $told) = @_;
	my $moved = $call->{moved}{ $entry->{key} } // 0;
	my $status = $told->{status};

	return if !defined $told->{version} || $status eq 'repeated' || $status eq 'unsure';
	return if $call->{known} && $status eq 'checked';
	return $told->{version} - $entry->{n} - $moved if $status eq 'appended';
	return $told->{version} if $status eq 'not_written';
	return $told->{version} - $moved;
}

sub _entry
{
	my ($self, $context, $call, $entry, $told) = @_;
	my $key = $entry->{key};
	my $name = "$call->{name} entry $entry->{entry}";

	if (defined $key)
	{
		my $before = _version_before($call, $entry, $told);
		my $seen = $call->{base}{$key};

		if (defined $before)
		{
			$self->_find("$name: $key was at version $before before the call, and at version $seen")
			  if defined $seen && $seen != $before;
			$call->{base}{$key} = $before;
			$self->_judge($call, $entry, $told, $before + ($call->{moved}{$key} // 0));
		}
		$call->{held}{$key} = 1 if $told->{status} eq 'appended' || ($told->{status} eq 'checked' && !$call->{known});
		$call->{moved}{$key} += $entry->{n}
		  if !$entry->{guard} && ($told->{status} eq 'appended' || ($told->{status} eq 'not_written' && !$call->{known}));
		push @{ $call->{repeats} }, $entry if $told->{status} eq 'repeated';
	}
	push @{ $call->{passed} }, $entry if $told->{status} =~ /^(?:appended|checked|repeated)$/;
	push @{ $call->{failed} }, $entry if $told->{status} eq 'condition_failed';
	$self->_reused($context, $call, $entry) if $told->{status} eq 'request_id_reused';
	return;
}

# The outcome by the contract, as far as the version decides it.
sub _judge
{
	my ($self, $call, $entry, $told, $version) = @_;
	my $expected = $told->{expected} // $entry->{expected};
	my $outcome =
		$entry->{mode} eq 'decided' && !defined $expected ? 'passes'
	  : defined $expected && $expected != $version ? 'version_conflict'
	  : !defined $expected && $version == 0 && ($entry->{guard} || $entry->{mode} eq 'existing') ? 'aggregate_not_found'
	  : 'passes';
	my $said = $told->{status} =~ /^(?:version_conflict|aggregate_not_found)$/ ? $told->{status} : 'passes';

	return if $told->{status} eq 'request_id_reused';
	$self->_find("$call->{name} entry $entry->{entry}: $told->{status}, but at version $version it $outcome")
	  if $said ne $outcome;
	return;
}

# The request was known with other events.
sub _reused
{
	my ($self, $context, $call, $entry) = @_;
	my $request = $call->{attempt}{request};
	my @keys = map { $_->{key} } @{ $call->{attempt}{entries} };

	return if grep { $context->{requests}{"$_ $request"} || $context->{unsure}{$_} } @keys;
	my %first = map { my ($e) = $self->{log}->request($_, $request); $e ? ($e->{tx} => $e) : () } @keys;

	if (!%first)
	{
		$self->_find("$call->{name}: request $request is said to be used, but is not there");
	}
	elsif (keys %first == 1)
	{
		$self->_know([ request => values %first ],
			$self->_point($context, "$call->{name} is refused", $call->{attempt}));
	}
	return;
}

# Put the facts of a call where they belong.
sub _note_call
{
	my ($self, $context, $call) = @_;
	my $attempt = $call->{attempt};
	my $step = $self->_point($context, "$call->{name} $attempt->{form}", $attempt);
	my $commit = $attempt->{dropped} ? undef : $context->{commit};
	my $snapshot = EventstoreHistory::is_read_committed($context) ? undef : $self->_snapshot($context, $attempt);

	foreach my $key (sort keys %{ $call->{base} })
	{
		my $base = $self->_others_version($context, $call->{name}, $key, $call->{base}{$key});
		my $held = $call->{held}{$key};
		next if !defined $base;

		# Each of independent writes may have been refused at another moment.
		my $at = $call->{each} && !$held ? $self->_point($context, "$call->{name} is refused", $attempt) : $step;

		$self->_know([ version => $key, $base ], $at);
		$self->_know([ version => $key, $base ], $snapshot, $context->{own}{$key} ? () : $commit) if $held;
	}
	$self->_note_repeats($context, $call, $step);
	$self->_note_conditions($context, $call, $step);
	return if $attempt->{dropped};

	foreach my $entry (@{ $call->{passed} || [] })
	{
		my $told = $call->{told}{ $entry->{entry} };

		$self->_note_own($context, $call, $entry, $told) if $told->{status} eq 'appended';

		# Requests are looked for past the snapshot of a serializable transaction.
		next if !$context->{commit} || ($context->{serial} && $told->{status} eq 'repeated');
		push @{ $context->{commit}{writes} }, $self->_write($context, $call, $entry, $told);
	}
	return;
}

# What the transaction has done is its own until it commits.
sub _note_own
{
	my ($self, $context, $call, $entry, $told) = @_;
	my $key = $entry->{key};
	my $request = $call->{attempt}{request};

	$context->{own}{$key} ||= { base => $call->{base}{$key} };
	$context->{own}{$key}{version} = $told->{version};
	$context->{requests}{"$key $request"} = $told if defined $request;
	return;
}

# What the commit must have done for one entry.
sub _write
{
	my ($self, $context, $call, $entry, $told) = @_;
	my %write = (
		name => "$call->{name} entry $entry->{entry}",
		key => $entry->{key},
		status => $told->{status},
		request => $call->{attempt}{request},
		conditions => $call->{known} ? [] : $entry->{held_conditions} || []);

	if ($told->{status} eq 'appended')
	{
		$write{pre} = $told->{version} - $entry->{n};
		$write{events} =
		  [ map { $self->{log}->event($entry->{key}, $write{pre} + $_) } 1 .. $entry->{n} ];
		@write{qw(op n first last)} = (@$entry{qw(op n)}, @$told{qw(first last)});
		$write{decided} = 1 if $entry->{mode} eq 'decided';
	}
	elsif ($told->{status} eq 'checked' && !$call->{known})
	{
		$write{version} = $told->{version};
	}
	return \%write;
}

# A repeat tells what the first one did.
sub _note_repeats
{
	my ($self, $context, $call, $step) = @_;
	my $request = $call->{attempt}{request};

	foreach my $entry (@{ $call->{repeats} })
	{
		my $key = $entry->{key};
		my $told = $call->{told}{ $entry->{entry} };
		my $own = $context->{requests}{"$key $request"};
		my @stored = $self->{log}->request($key, $request);

		# In one call to an aggregate twice, each entry has events of its own.
		next if $own || $context->{unsure}{$key};
		@stored = grep { $_->{op} eq $entry->{op} } @stored if grep { $_ != $entry && ($_->{key} // '') eq $key } @{ $call->{attempt}{entries} };
		if (!@stored)
		{
			$self->_find("$call->{name} repeats request $request on $key, which is not there");
			next;
		}
		$self->_find("$call->{name} entry $entry->{entry}: repeats request $request on $key with another result")
		  if $told->{version} != $stored[-1]{version}
		  || (defined $told->{first}
			&& ($told->{first} != $stored[0]{position} || $told->{last} != $stored[-1]{position}));
		$self->_know([ request => $stored[0] ],
			$step, $call->{attempt}{dropped} || $context->{serial} ? () : $context->{commit});
	}
	return;
}

sub _note_conditions
{
	my ($self, $context, $call, $step) = @_;
	my $commit = $call->{attempt}{dropped} ? undef : $context->{commit};

	foreach my $entry (@{ $call->{passed} || [] })
	{
		next if $call->{known};
		foreach my $condition ($self->_conditions($context, $call, $entry))
		{
			$self->_know([ none => @$condition ], $step, $commit);
			push @{ $entry->{held_conditions} }, $condition;
		}
	}
	foreach my $entry (@{ $call->{failed} || [] })
	{
		my $told = $call->{told}{ $entry->{entry} };
		my $number = $told->{condition} or next;

		# An event of an earlier entry has no position yet.
		next if !defined $told->{position};
		my $tx = $self->{log}->tx_at($told->{position});

		next if defined $tx ? $tx eq $context->{name} : %{ $context->{own} } || %{ $context->{unsure} };
		$self->_know([ first => $entry->{conditions}[ $number - 1 ]{query}, $told->{after}, $told->{position} ],
			$self->_point($context, "$call->{name} is refused by an event", $call->{attempt}));
	}
	return;
}

# The conditions of an entry: query and position.
sub _conditions
{
	my ($self, $context, $call, $entry) = @_;
	my @conditions = @{ $entry->{conditions} || [] };
	my @after = @{ $entry->{after} || [] };

	# Where the function decided, its events tell.
	if (@conditions && $entry->{mode} eq 'decided')
	{
		my ($e) = grep { $_->{op} eq $entry->{op} } $self->{log}->events_of($context->{name});
		@after = $e ? ($e->{after}) : ();
	}
	return map { [ $conditions[$_]{query}, $after[$_] ] } 0 .. $#after;
}

# The answer is lost, but the log has the events: they say what it would have been.
sub _unanswered
{
	my ($self, $context, $attempt) = @_;
	my @events = $self->{log}->events_of($context->{name});

	$attempt->{state} = '00000';
	$attempt->{begin} = $context->{t}{commit}{begin};
	$attempt->{end} = $context->{t}{commit}{end};
	foreach my $entry (@{ $attempt->{entries} })
	{
		my @own = grep { $_->{op} eq $entry->{op} } @events;

		if (@own)
		{
			push @{ $attempt->{results} },
			  [ $attempt->{att}, $entry->{entry}, undef, 'appended', $own[-1]{version}, $own[0]{position}, $own[-1]{position} ];
		}
		elsif ($entry->{guard})
		{
			push @{ $attempt->{results} },
			  [ $attempt->{att}, $entry->{entry}, undef, 'checked', $entry->{expected} // '-', '-', '-' ];
		}
		elsif ($attempt->{form} ne 'each')
		{
			$self->_find("$attempt->{att} is there in part");
		}
	}
	$self->_answer($context, $attempt);
	delete @$attempt{qw(state results)};
	return;
}

1;
