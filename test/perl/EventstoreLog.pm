# The log of a store in memory: by version, by request and by tag.

package EventstoreLog;

use strict;
use warnings;

use JSON::PP;

sub new
{
	my ($class, $node, $db, $store) = @_;
	my $json = JSON::PP->new->utf8(0);
	my $self = bless { events => [], at => {}, of => {}, tx => {}, request => {}, tagged => {}, memory => {} }, $class;
	my $rows = $node->safe_psql(
		$db, qq(
		SELECT jsonb_build_array(position, key, version, type, data, metadata->>'tx', request_id, tags)
		FROM $store.es_events ORDER BY position));

	foreach my $row (split /\n/, $rows)
	{
		my %e;
		@e{qw(position key version type data tx request tags)} = @{ $json->decode($row) };

		my $data = delete $e{data} || {};
		@e{qw(op n saw read after)} = @$data{qw(op n saw read after)};
		$self->_add(\%e);
	}
	return $self;
}

sub _add
{
	my ($self, $e) = @_;
	my %once;

	push @{ $self->{events} }, $e;
	$self->{at}{ $e->{key} }[ $e->{version} ] = $e;
	$self->{tx}{ $e->{position} } = $e->{tx};
	push @{ $self->{of}{ $e->{tx} } }, $e if defined $e->{tx};
	push @{ $self->{request}{"$e->{key} $e->{request}"} }, $e if defined $e->{request};
	push @{ $self->{tagged}{$_} }, $e foreach grep { !$once{$_}++ } @{ $e->{tags} || [] };
	return;
}

# All events, in order of position.
sub events
{
	my ($self) = @_;
	return @{ $self->{events} };
}

sub event
{
	my ($self, $key, $version) = @_;
	return if $version < 1 || !$self->{at}{$key};
	return $self->{at}{$key}[$version];
}

# Those of a transaction.
sub events_of
{
	my ($self, $tx) = @_;
	return @{ $self->{of}{$tx} || [] };
}

# Those that a request has brought to an aggregate.
sub request
{
	my ($self, $key, $request) = @_;
	return @{ $self->{request}{"$key $request"} || [] };
}

# The transaction that wrote a position.
sub tx_at
{
	my ($self, $position) = @_;
	return $self->{tx}{$position};
}

sub _item_matches
{
	my ($item, $e) = @_;
	my %has = map { $_ => 1 } @{ $e->{tags} };

	return 0 if grep { !$has{$_} } @{ $item->{tags} };
	return 0 if $item->{types} && !grep { $_ eq $e->{type} } @{ $item->{types} };
	return 0 if $item->{categories} && !grep { $_ eq $e->{key} =~ s/-.*//r } @{ $item->{categories} };
	return 1;
}

# What is remembered of a query: its matches, and room for whoever asks.
sub memory
{
	my ($self, $query) = @_;
	my $name = JSON::PP->new->canonical->encode($query);

	return $self->{named}{$name} if $self->{named}{$name};
	my %found;

	foreach my $item (@$query)
	{
		$found{ $_->{position} } = $_
		  foreach grep { _item_matches($item, $_) } @{ $self->{tagged}{ $item->{tags}[0] } || [] };
	}
	my @matches = map { $found{$_} } sort { $a <=> $b } keys %found;
	my %last;

	$last{ $matches[$_]{tx} } = $_ foreach 0 .. $#matches;
	return $self->{named}{$name} = { matches => \@matches, last => \%last };
}

# The events that match a query, in order of position.
sub matches
{
	my ($self, $query) = @_;
	return @{ $self->memory($query)->{matches} };
}

# How many of them are not after a position.
sub matches_up_to
{
	my ($self, $query, $position) = @_;
	my $matches = $self->memory($query)->{matches};
	my ($low, $high) = (0, scalar @$matches);

	while ($low < $high)
	{
		my $middle = int(($low + $high) / 2);

		if ($matches->[$middle]{position} <= $position)
		{
			$low = $middle + 1;
		}
		else
		{
			$high = $middle;
		}
	}
	return $low;
}

# The index of the last one that is of a transaction, or -1.
sub last_match_of
{
	my ($self, $query, $tx) = @_;
	return $self->memory($query)->{last}{$tx} // -1;
}

1;
