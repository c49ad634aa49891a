# An order of things that began and ended at known times and must keep given
# precedences; or a circle, if there is no such order.
#
# The graph has a vertex for each thing, one for each time, and whatever else helps to
# say "after all of these" with few edges.  Each time leads to the next; a thing is
# between the times at which it began and ended.

package EventstoreOrder;

use strict;
use warnings;

sub new
{
	my ($class) = @_;
	return bless { names => [], next => [], begin => {}, end => {} }, $class;
}

# Add a vertex.  With a name it is a thing; begin and end are optional.
sub add
{
	my ($self, $name, $begin, $end) = @_;
	my $vertex = @{ $self->{next} };

	push @{ $self->{next} }, [];
	push @{ $self->{names} }, $name;
	push @{ $self->{begin}{$begin} }, $vertex if defined $begin;
	push @{ $self->{end}{$end} }, $vertex if defined $end;
	return $vertex;
}

sub precede
{
	my ($self, $first, $then) = @_;

	push @{ $self->{next}[$first] }, $then;
	return;
}

sub _add_times
{
	my ($self) = @_;
	my %times = map { $_ => 1 } keys %{ $self->{begin} }, keys %{ $self->{end} };
	my $before;

	foreach my $time (sort { $a <=> $b } keys %times)
	{
		my $vertex = $self->add(undef);

		$self->precede($before, $vertex) if defined $before;
		$self->precede($vertex, $_) foreach @{ $self->{begin}{$time} || [] };
		$self->precede($_, $vertex) foreach @{ $self->{end}{$time} || [] };
		$before = $vertex;
	}
	@$self{qw(begin end)} = ({}, {});
	return;
}

# All things in an order that keeps every precedence: a list of vertices.  If there
# is none, an empty list, and circle() tells why.
sub sorted
{
	my ($self) = @_;
	my (@waits, @ready, @order);

	$self->_add_times;
	my $next = $self->{next};
	$waits[$_] = 0 foreach 0 .. $#$next;
	foreach my $from (@$next)
	{
		$waits[$_]++ foreach @$from;
	}
	@ready = grep { $waits[$_] == 0 } 0 .. $#$next;
	while (@ready)
	{
		my $vertex = shift @ready;

		push @order, $vertex;
		push @ready, grep { --$waits[$_] == 0 } @{ $next->[$vertex] };
	}
	$self->{stuck} = [ grep { $waits[$_] > 0 } 0 .. $#$next ];
	return @{ $self->{stuck} } ? () : grep { defined $self->{names}[$_] } @order;
}

# The shortest way back to a vertex, through those that wait for each other, if it is
# shorter than so many steps.
sub _way_back
{
	my ($self, $start, $stuck, $limit) = @_;
	my %from;
	my @reached = ($start);

	foreach (1 .. $limit)
	{
		my @further;

		foreach my $vertex (@reached)
		{
			foreach my $next (grep { $stuck->{$_} && !exists $from{$_} } @{ $self->{next}[$vertex] })
			{
				$from{$next} = $vertex;
				push @further, $next;
			}
		}
		last if exists $from{$start};
		@reached = @further;
	}
	return if !exists $from{$start};
	my @way = ($start);
	unshift @way, $from{ $way[0] } while @way == 1 || $way[0] != $start;
	return @way[ 1 .. $#way ];
}

# The names on a short circle.  There may be many things that wait, and far too many
# circles: look for longer ones only if there are no shorter ones.
sub circle
{
	my ($self) = @_;
	my %stuck = map { $_ => 1 } @{ $self->{stuck} };
	my @things = grep { defined $self->{names}[$_] } @{ $self->{stuck} };

	for (my $limit = 4; $limit < 2 * @{ $self->{next} }; $limit *= 4)
	{
		foreach my $vertex ($limit < 100 ? @things : @things > 20 ? @things[ 0 .. 19 ] : @things)
		{
			my @way = $self->_way_back($vertex, \%stuck, $limit);

			return map { $self->{names}[$_] // () } @way if @way;
		}
	}
	return;
}

1;
