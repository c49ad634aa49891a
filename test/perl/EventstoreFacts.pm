# The facts of EventstoreHistory: for each kind, which steps must come before and after
# one that knows it, and whether it is so in a model of the store.

package EventstoreFacts;

use strict;
use warnings;

use JSON::PP;

# Who wrote an event, as a vertex.
sub _writer
{
	my ($self, $event) = @_;
	return $self->{commit}{ $event->{tx} };
}

# Each version comes after the one before it.
sub _order_versions
{
	my ($self) = @_;

	foreach my $e ($self->{log}->events)
	{
		my $next = $self->{log}->event($e->{key}, $e->{version} + 1) or next;
		my ($from, $to) = map { $self->_writer($_) } ($e, $next);

		$self->{order}->precede($from, $to)
		  if defined $from && defined $to && $from != $to;
	}
	return;
}

sub _order_facts
{
	my ($self, $step) = @_;

	foreach my $fact (@{ $step->{facts} })
	{
		my ($kind, @rest) = @$fact;
		my $method = "_order_$kind";

		$self->$method($step, @rest);
	}
	return;
}

# After the writer of a version, before that of the next.
sub _order_version
{
	my ($self, $step, $key, $version) = @_;
	my $last = $version > 0 ? $self->{log}->event($key, $version) : undef;
	my $next = $self->{log}->event($key, $version + 1);

	$self->_find("$step->{name}: $key was at version $version, which is not there")
	  if $version > 0 && !$last;
	$self->_after($step, $last) if $last;
	$self->_before($step, $next) if $next;
	return;
}

sub _after
{
	my ($self, $step, $event) = @_;
	my $writer = $self->_writer($event);

	$self->{order}->precede($writer, $step->{vertex}) if defined $writer;
	return;
}

sub _before
{
	my ($self, $step, $event) = @_;
	my $writer = $self->_writer($event);

	# What a commit holds is so right before it.
	$self->{order}->precede($step->{vertex}, $writer)
	  if defined $writer && $writer != $step->{vertex};
	return;
}

sub _order_events
{
	my ($self, $step, $key, $version, $positions) = @_;
	my @stored = map { $self->{log}->event($key, $version - @$positions + $_) } 1 .. @$positions;
	my $stored = join ',', map { $_ ? $_->{position} : 'none' } @stored;

	$self->_find("$step->{name}: $key had the events " . join(',', @$positions) . ", but has $stored")
	  if $stored ne join ',', @$positions;
	$self->_order_version($step, $key, $version);
	return;
}

# After all that were found, before all the others; and nothing that was there later
# may have a position that the cursor has passed.
sub _order_query
{
	my ($self, $step, $query, $cursor, $positions) = @_;
	my @matches = grep { $_->{tx} ne $step->{tx} } $self->{log}->matches($query);
	my @seen = grep { $_->{position} <= $cursor } @matches;
	my $seen = join ',', map { $_->{position} } @seen;

	$self->_find("$step->{name}: found " . join(',', @$positions) . " up to $cursor, but there is $seen")
	  if $seen ne join ',', @$positions;
	$self->_after_matches($step, $query, scalar $self->{log}->matches_up_to($query, $cursor));
	$self->_before_matches($step, $query, $cursor);
	return;
}

sub _order_none
{
	my ($self, $step, $query, $after) = @_;

	$self->_before_matches($step, $query, $after);
	return;
}

sub _order_first
{
	my ($self, $step, $query, $after, $position) = @_;
	my ($event) = grep { $_->{position} == $position } $self->{log}->matches($query);

	if (!$event || $position <= $after)
	{
		$self->_find("$step->{name}: nothing matches at position $position");
		return;
	}
	$self->_after($step, $event);

	# Items are looked for one after the other.
	return if @$query > 1;
	$self->_before($step, $_)
	  foreach grep { $_->{position} > $after && $_->{position} < $position } $self->{log}->matches($query);
	return;
}

sub _order_request
{
	my ($self, $step, $event) = @_;

	$self->_after($step, $event);
	return;
}

# A step before all matches after a position but its own.  A vertex for each match
# stands for it and all later ones.
sub _before_matches
{
	my ($self, $step, $query, $after) = @_;
	my @matches = $self->{log}->matches($query);
	my $first = $self->{log}->matches_up_to($query, $after);
	my $chain = $self->{log}->memory($query)->{later} ||= $self->_chain(\@matches, 1);

	# As long as own ones are among them, one by one.
	my $last_own = $self->{log}->last_match_of($query, $step->{tx});
	$self->_before($step, $_) foreach @matches[ $first .. $last_own ];
	my $i = $first > $last_own ? $first : $last_own + 1;
	$self->{order}->precede($step->{vertex}, $chain->[$i]) if $i < @matches;
	return;
}

# A step after the first so many matches but its own.
sub _after_matches
{
	my ($self, $step, $query, $count) = @_;
	my @matches = $self->{log}->matches($query);
	my $chain = $self->{log}->memory($query)->{earlier} ||= $self->_chain(\@matches, 0);
	my ($i) = grep { $matches[$_]{tx} eq $step->{tx} } 0 .. $count - 1;

	$i //= $count;
	$self->_after($step, $_) foreach grep { $_->{tx} ne $step->{tx} } @matches[ $i .. $count - 1 ];
	$self->{order}->precede($chain->[ $i - 1 ], $step->{vertex}) if $i > 0;
	return;
}

# A vertex for each match, which comes before it and all later ones, or after it and all
# earlier ones.
sub _chain
{
	my ($self, $matches, $later) = @_;
	my @chain = map { $self->{order}->add(undef) } @$matches;

	foreach my $i (0 .. $#chain)
	{
		my $writer = $self->_writer($matches->[$i]);
		my ($from, $to) = $later ? ($chain[$i], $writer) : ($writer, $chain[$i]);

		$self->{order}->precede($from, $to) if defined $writer;
		$self->{order}->precede($chain[ $i - 1 ], $chain[$i]) if $i > 0;
	}
	return \@chain;
}

# ---------------------------------------------------------------------------
# The model
# ---------------------------------------------------------------------------

# Go through all steps in an order that keeps every precedence.
sub _replay
{
	my ($self) = @_;
	my @order = $self->{order}->sorted;

	$self->{model} = { version => {}, request => {}, there => {}, count => 0 };
	if (!@order)
	{
		my %named = map { $_->{name} => $_ } values %{ $self->{steps} };

		$self->_find(join "\n", 'there is no order in which all this is true:',
			map { '  ' . _describe($named{$_}) } $self->{order}->circle);
		return;
	}
	foreach my $step (map { $self->{steps}{$_} } @order)
	{
		foreach my $fact (@{ $step->{facts} })
		{
			my ($kind, @rest) = @$fact;
			my $method = "_holds_$kind";

			$self->_find("$step->{name}: not so: " . _describe_fact($fact)) if !$self->$method(@rest);
		}
		$self->_apply($step, $_) foreach @{ $step->{writes} };
		return if $self->_given_up;
	}
	my @lost = grep { !$self->{model}{there}{ $_->{position} } } $self->{log}->events;
	$self->_find("$_->{tx}: nobody was told of version $_->{version} of $_->{key}") foreach @lost;
	$self->{counts}{steps} = @order;
	$self->{counts}{events} = $self->{model}{count};
	return;
}

sub _describe_fact
{
	my ($fact) = @_;
	return join ' ', map { ref $_ ? JSON::PP->new->canonical->allow_nonref->allow_blessed->encode($_) : $_ } @$fact;
}

sub _describe
{
	my ($step) = @_;
	my $when = join ' to ', map { $step->{when}{$_} // '?' } qw(begin end);
	my @writes = map { "writes $_->{key} from version $_->{pre}" } grep { $_->{op} } @{ $step->{writes} };

	return "$step->{name} ($when): " . join '; ', (map { _describe_fact($_) } @{ $step->{facts} }), @writes;
}

sub _holds_version
{
	my ($self, $key, $version) = @_;
	return ($self->{model}{version}{$key} // 0) == $version;
}

# Which events these are was looked at already.
sub _holds_events
{
	my ($self, $key, $version) = @_;
	return $self->_holds_version($key, $version);
}

sub _there
{
	my ($self, $query) = @_;
	return grep { $self->{model}{there}{$_} } map { $_->{position} } $self->{log}->matches($query);
}

sub _holds_query
{
	my ($self, $query, $cursor, $positions) = @_;
	return join(',', $self->_there($query)) eq join(',', @$positions);
}

sub _holds_none
{
	my ($self, $query, $after) = @_;
	return !grep { $_ > $after } $self->_there($query);
}

sub _holds_first
{
	my ($self, $query, $after, $position) = @_;
	my @there = grep { $_ > $after } $self->_there($query);

	return @$query > 1 ? scalar(grep { $_ == $position } @there) : @there && $there[0] == $position;
}

sub _holds_request
{
	my ($self, $event) = @_;
	return $self->{model}{request}{"$event->{key} $event->{request}"};
}

# What a commit does for one entry, and whether it may.
sub _apply
{
	my ($self, $step, $write) = @_;
	my $name = $write->{name} // $step->{name};
	my $key = $write->{key};

	foreach my $condition (@{ $write->{conditions} || [] })
	{
		$self->_find("$name: condition " . _describe_fact($condition) . ' does not hold')
		  if !$self->_holds_none(@$condition);
	}
	if ($write->{events})
	{
		$self->_apply_events($step, $name, $write);
	}
	elsif ($write->{status} eq 'repeated')
	{
		$self->_find("$name: request $write->{request} on $key has not landed yet")
		  if !$self->{model}{request}{"$key $write->{request}"};
	}
	elsif (defined $write->{version})
	{
		$self->_find("$name: $key is not at version $write->{version}")
		  if !$self->_holds_version($key, $write->{version});
	}
	return;
}

# Append the events of one entry.
sub _apply_events
{
	my ($self, $step, $name, $write) = @_;
	my $model = $self->{model};
	my $n = 0;

	foreach my $e (@{ $write->{events} })
	{
		$n++;
		if (!$e)
		{
			$self->_find("$name: event $n is not in $write->{key}");
			next;
		}
		my $request = $e->{request} // '-';
		my $stranger = !defined $write->{op};
		my $as_told = $stranger
		  || ( $e->{op} eq $write->{op}
			&& $e->{n} == $n
			&& $e->{tx} eq $step->{tx}
			&& $request eq ($write->{request} // '-')
			&& ($n > 1 || !defined $write->{first} || $e->{position} == $write->{first})
			&& ($n < @{ $write->{events} } || !defined $write->{last} || $e->{position} == $write->{last})
			&& (!$write->{decided} || ($e->{saw} == $write->{pre} && $e->{read} == $write->{pre})));

		$self->_find("$name: event $n is not that of version $e->{version} of $e->{key}") if !$as_told;
		$self->_find("$name: $e->{key} is not at version " . ($e->{version} - 1))
		  if !$self->_holds_version($e->{key}, $e->{version} - 1);
		$self->_find("$name: request $request lands on $e->{key} again")
		  if defined $e->{request} && $n == 1 && ($model->{request}{"$e->{key} $request"} // $step) != $step;
		$model->{version}{ $e->{key} } = $e->{version};
		$model->{request}{"$e->{key} $request"} = $step if defined $e->{request};
		$model->{there}{ $e->{position} } = 1;
		$model->{count}++;
	}
	return;
}

1;
