#!/usr/bin/perl
#
# uncovered.pl TRACEFILE FOLDER EXPLANATIONS: how many lines of the C files in FOLDER
# the tests reach, file by file, and which they do not.
#
# Adjacent lines that are not reached make a block.  EXPLANATIONS is a Markdown file in
# which a block is a list item that begins with its first line of code, in back quotes,
# below a heading with the name of the file.  Fails if a block has no item, or if fewer
# than 95 % of the lines are reached.  Tells which items are about no block any more.

use strict;
use warnings;

my ($tracefile, $folder, $explanations) = @ARGV;
my $LEAST = 95;

# The counts of all lines, by file.
sub read_counts
{
	my (%counts, $file);

	open my $in, '<', $tracefile or die "could not open $tracefile: $!\n";
	while (my $line = <$in>)
	{
		$file = $1 if $line =~ m{^SF:.*/([^/]+\.[ch])$};
		$counts{$file}{$1} += $2 if $line =~ /^DA:(\d+),(\d+)/;
	}
	return \%counts;
}

# The first lines of blocks that are explained, by file.
sub read_explanations
{
	my (%explained, $file);

	open my $in, '<', $explanations or return {};
	while (my $line = <$in>)
	{
		$file = $1 if $line =~ /^#+ (\S+\.[ch])\s*$/;
		$explained{$file}{$1} = 0 if defined $file && $line =~ /^- `(.*?)`(?!`)/;
	}
	return \%explained;
}

sub source_lines
{
	my ($file) = @_;

	open my $in, '<', "$folder/$file" or die "could not open $folder/$file: $!\n";
	chomp(my @lines = <$in>);
	return map { s/^\s+|\s+$//gr } @lines;
}

# The blocks of lines that are not reached: [first line, last line] of each.
sub blocks
{
	my ($counts) = @_;
	my (@blocks, $open);

	foreach my $line (sort { $a <=> $b } keys %$counts)
	{
		if ($counts->{$line} > 0)
		{
			$open = 0;
		}
		elsif ($open)
		{
			$blocks[-1][1] = $line;
		}
		else
		{
			push @blocks, [ $line, $line ];
			$open = 1;
		}
	}
	return @blocks;
}

my $counts = read_counts();
my $explained = read_explanations();
my ($all, $reached, $unexplained) = (0, 0, 0);

foreach my $file (sort keys %$counts)
{
	my @source = source_lines($file);
	my $lines = keys %{ $counts->{$file} };
	my $hit = grep { $_ > 0 } values %{ $counts->{$file} };

	printf "%-20s %5d lines %5d reached %6.1f %%\n", $file, $lines, $hit, 100 * $hit / $lines;
	$all += $lines;
	$reached += $hit;
	foreach my $block (blocks($counts->{$file}))
	{
		my ($first, $last) = @$block;
		my $code = $source[ $first - 1 ];
		my $known = exists $explained->{$file}{$code};

		$explained->{$file}{$code}++ if $known;
		$unexplained++ if !$known;
		printf "    %-9s %s%s\n", $first == $last ? $first : "$first-$last", $known ? '' : 'NOT EXPLAINED: ', $code;
	}
}
foreach my $file (sort keys %$explained)
{
	print "no longer unreached: $file: $_\n"
	  foreach grep { !$explained->{$file}{$_} } sort keys %{ $explained->{$file} };
}
printf "%d of %d lines reached: %.1f %%; %d blocks without explanation\n",
  $reached, $all, 100 * $reached / $all, $unexplained;
exit($unexplained > 0 || $reached < $all * $LEAST / 100 ? 1 : 0);
