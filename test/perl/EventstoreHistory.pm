# Is there an order of all that the clients of EventstoreClients did in which every
# answer is true?
#
# Each committed transaction is one step of that order, and so is everything that was
# told to a client before: what a call read, what it was refused for, and what it
# relied on when it was answered.  A step lies between the moments at which its
# statement was sent and answered.  What a step knows of the store are facts:
#
#   version   an aggregate was at a version
#   events    the same, and these were its last events
#   query     these events and no others matched a query, after a position
#   none      no event matched a query, after a position
#   first     this was the first one that did
#   request   a request had landed
#
# A transaction's own events count for it before they count for others.  What it holds
# (its appends, guards, locks and conditions) must be so when it is told, and still when
# it commits.  Above READ COMMITTED what it reads and what it holds must also be so at
# one moment at its beginning.
#
# Since every event has its version and position, the writer of each version is known,
# and who must come before and after a fact is, too: no search is needed.  The order is
# then gone through step by step with a simple model of a store, which is asked whether
# each answer is what the contract says.  So nothing rests on the graph: an order in
# which the model gives every answer is the proof.
#
# Serializable transactions promise an order of whole transactions, but not that of the
# clock; rounds of nothing else can be checked for that: see serial_findings.

package EventstoreHistory;

use strict;
use warnings;

use parent qw(EventstoreAnswers EventstoreFacts);

use EventstoreLog;
use EventstoreOrder;

# Most findings that are worth reading.
my $ENOUGH = 10;

sub new
{
	my ($class, $clients) = @_;
	return bless { clients => $clients, moments => [] }, $class;
}

# What is wrong with the history, one finding a line; nothing if it is proved right.
sub findings
{
	my ($self) = @_;
	return $self->_check('');
}

# The same for what SERIALIZABLE promises, of the rounds of nothing else.
sub serial_findings
{
	my ($self) = @_;
	return $self->_check('serial');
}

# Note the versions (a hash) that somebody else has read at one moment.  A standby may
# see independent transactions in another order than clients of the primary do, but
# not what depends on each other; each moment comes after the one before.
sub note_moment
{
	my ($self, $versions) = @_;

	push @{ $self->{moments} }, $versions;
	return;
}

# Is there an order of all transactions, as they held what they held, in which every
# moment has its place?
sub moment_findings
{
	my ($self) = @_;
	return $self->_check('moments');
}

# How much the last check has covered.
sub counts
{
	my ($self) = @_;
	return $self->{counts};
}

sub _check
{
	my ($self, $mode) = @_;
	my $clients = $self->{clients};

	$self->{mode} = $mode;
	$self->{log} = EventstoreLog->new(@$clients{qw(node db store)});
	$self->{order} = EventstoreOrder->new;
	$self->{steps} = {};
	$self->{commit} = {};
	$self->{findings} = [];
	$self->{counts} = { transactions => 0, calls => 0, reads => 0, facts => 0 };

	my @transactions = map { $self->_open_transaction($_) }
	  sort keys %{ $clients->{transactions} };
	$self->_open_strangers;
	$self->_go_through($_) foreach @transactions;
	$self->_order_versions;
	$self->_order_moments if $mode eq 'moments';
	$self->_order_facts($_) foreach grep { !$self->_given_up } values %{ $self->{steps} };
	$self->_replay unless @{ $self->{findings} };
	return join "\n", @{ $self->{findings} };
}

sub _given_up
{
	my ($self) = @_;
	return @{ $self->{findings} } >= $ENOUGH;
}

sub _find
{
	my ($self, $finding) = @_;

	push @{ $self->{findings} }, $finding if !$self->_given_up;
	return;
}

# ---------------------------------------------------------------------------
# Steps
# ---------------------------------------------------------------------------

sub _step
{
	my ($self, $name, $tx, $when) = @_;
	my $vertex = $self->{order}->add($name, $when->{begin}, $when->{end});

	return $self->{steps}{$vertex} =
	  { vertex => $vertex, name => $name, tx => $tx, when => $when, facts => [], writes => [] };
}

# A transaction, with the step of its commit if it was committed: what is in the log
# of a transaction whose commit was not answered says whether it was.
sub _open_transaction
{
	my ($self, $name) = @_;
	my $clients = $self->{clients};
	my $t = $clients->{transactions}{$name};
	my $levels = $clients->{levels}{ $t->{round} };
	my $present = $t->{outcome} eq 'committed'
	  || ($t->{outcome} eq 'unknown' && $self->{log}->events_of($name));
	my $context = {
		name => $name,
		t => $t,
		present => $present,
		serial => $self->{mode} eq 'serial' && @$levels == 1 && $levels->[0] eq 'serializable',
		own => {},
		requests => {},
		unsure => {}
	};

	# A whole transaction may come at any time of its round.
	my $when = $t->{commit};
	my $end = $when->{begin} ? 1_000_000_000 * ($t->{round} + 1) - 1 : 0;
	$when = { begin => 1_000_000_000 * $t->{round}, end => $end } if $context->{serial};
	if ($present)
	{
		$context->{commit} = $self->_step("$name commits", $name, $when);
		$self->{commit}{$name} = $context->{commit}{vertex};
	}
	$self->{counts}{transactions}++ if $present;
	return $context;
}

# Events that no client has sent are a step each; of others' nothing may be there.
sub _open_strangers
{
	my ($self) = @_;

	foreach my $e ($self->{log}->events)
	{
		if ($e->{type} ne 'op')
		{
			my $name = "position $e->{position}, by somebody else";
			my $step = $self->_step($name, $name, {});

			$e->{tx} = $name;
			$self->{commit}{$name} = $step->{vertex};
			$step->{writes} = [ { events => [$e], pre => $e->{version} - 1 } ];
		}
		elsif (!defined $self->{commit}{ $e->{tx} })
		{
			$self->_find("$e->{tx} was not committed, but $e->{key} has its event at version $e->{version}");
		}
	}
	return;
}

# The step at which something before the commit was known.
sub _point
{
	my ($self, $context, $what, $when) = @_;

	return if $context->{serial} || $self->{mode} eq 'moments';
	my $step = $self->_step($what, $context->{name}, $when);

	$self->{order}->precede($step->{vertex}, $context->{commit}{vertex}) if $context->{commit};
	return $step;
}

# The step at which a transaction that has only one snapshot took it.  Outside of a
# block each statement is a transaction, and what was read is not of that of the call.
sub _snapshot
{
	my ($self, $context, $when) = @_;

	return $self->_point($context, $when->{read}, $when)
	  if !$context->{t}{block} && $when->{read};
	return $context->{commit} if $context->{serial};
	return $context->{snapshot} ||=
	  $self->_point($context, "$context->{name} takes its snapshot", $context->{t}{snapshot} || $when);
}

# Each moment that was noted is a step.
sub _order_moments
{
	my ($self) = @_;
	my %keys = map { $_->{key} => 1 } $self->{log}->events;
	my ($before, $n);

	foreach my $moment (@{ $self->{moments} })
	{
		my $name = 'moment ' . ++$n;
		my $step = $self->_step($name, $name, {});

		$self->_know([ version => $_, $moment->{$_} // 0 ], $step) foreach sort keys %keys;
		$self->{order}->precede($before->{vertex}, $step->{vertex}) if $before;
		$before = $step;
	}
	return;
}

sub is_read_committed
{
	my ($context) = @_;
	return $context->{t}{level} eq 'read committed';
}

# Note a fact at each of the given steps.
sub _know
{
	my ($self, $fact, @steps) = @_;

	foreach my $step (grep { defined } @steps)
	{
		push @{ $step->{facts} }, $fact;
		$self->{counts}{facts}++;
	}
	return;
}

# ---------------------------------------------------------------------------
# What a transaction was told
# ---------------------------------------------------------------------------

sub _go_through
{
	my ($self, $context) = @_;
	my $t = $context->{t};

	foreach my $op (@{ $t->{ops} })
	{
		if ($op->{read})
		{
			$self->_read($context, $op);
		}
		else
		{
			$self->_answer($context, $op);
		}
	}

	# The only statement was not answered, but what it did is there.
	my $lost = $self->{clients}{attempt}{"$context->{name}/1"};
	$self->_unanswered($context, $lost)
	  if $context->{present} && !$t->{block} && !defined $lost->{state};
	return;
}

# A version that a transaction was told of, which counts its own events, as the version
# that others see; undef if there is nothing to be said of that.
sub _others_version
{
	my ($self, $context, $what, $key, $version) = @_;
	my $own = $context->{own}{$key};

	return if $context->{unsure}{$key};
	return $version if !$own;
	$self->_find("$context->{name} $what: $key at version $version, after its own version $own->{version}")
	  if $version != $own->{version};
	return $own->{base};
}

my %READ = (S => '_read_versions', G => '_read_events', Q => '_read_query', L => '_read_locks');

sub _read
{
	my ($self, $context, $read) = @_;
	my $method = $READ{ $read->{kind} };
	my $step =
	  is_read_committed($context) || $read->{kind} eq 'L'
	  ? $self->_point($context, "$read->{read}", $read)
	  : $self->_snapshot($context, $read);

	$self->{counts}{reads}++;
	$self->$method($context, $step, $read, @$_) foreach @{ $read->{rows} };
	return;
}

sub _read_versions
{
	my ($self, $context, $step, $read, $key, $version) = @_;
	my $base = $self->_others_version($context, $read->{read}, $key, $version);

	$self->_know([ version => $key, $base ], $step) if defined $base;
	return;
}

# The events of an aggregate after a version; own ones are known by their number only.
sub _read_events
{
	my ($self, $context, $step, $read, $key, $from, $version, $positions) = @_;
	my $base = $self->_others_version($context, $read->{read}, $key, $version);
	my @positions = $positions eq '-' ? () : split /,/, $positions;

	return if !defined $base;
	$self->_find("$read->{read}: $key at version $version has " . @positions . " events after version $from")
	  if @positions != $version - $from;
	splice @positions, $base - $from if $from <= $base && @positions > $base - $from;
	$self->_know([ events => $key, $base, \@positions ], $step);
	return;
}

sub _read_query
{
	my ($self, $context, $step, $read, $cursor, $positions) = @_;
	my $query = $self->{clients}{queries}{ $read->{read} };
	my @positions = $positions eq '-' ? () : split /,/, $positions;
	my @others = grep { ($self->{log}->tx_at($_) // '') ne $context->{name} } @positions;

	# Own events that were given up later are in no log.
	@others = grep { defined $self->{log}->tx_at($_) } @others
	  if %{ $context->{own} } || %{ $context->{unsure} };
	$self->_know([ query => $query, $cursor, \@others ], $step);
	return;
}

sub _read_locks
{
	my ($self, $context, $step, $read, $key, $version) = @_;
	my $attempt = $self->{clients}{attempt}{ $read->{read} =~ s/~l$//r };
	my $base = $self->_others_version($context, $read->{read}, $key, $version);

	return if !defined $base;
	$self->_know([ version => $key, $base ], $step);
	$self->_know([ version => $key, $base ], $self->_snapshot($context, $read))
	  if !is_read_committed($context);
	$self->_know([ version => $key, $base ], $context->{commit}) if !$attempt->{dropped} && !$context->{own}{$key};
	return;
}

1;
