# Documents whose SQL is run: every SQL block, in order, and its output compared.
#
# In the SQL, "-- => x" after a statement is the one value that it returns.  A
# "text" block right below an SQL block holds the whole remaining output of that
# block; an SQL block without one has no output but void.  A block that begins with
# a comment "-- session X" runs in a session of that name, all others in one more.

package EventstoreDocument;

use strict;
use warnings;

use Exporter 'import';
use EventstoreTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(fenced_blocks run_document);

# The fenced blocks of a text: language, code, line number, and for SQL the output
# shown below it.
sub fenced_blocks
{
	my ($text) = @_;
	my @found;
	my ($block, $n);

	foreach my $line (split /\n/, $text)
	{
		$n++;
		if ($block && $line eq '```')
		{
			if ($block->{language} eq 'text' && @found && $found[-1]{end} == $block->{line} - 1)
			{
				$found[-1]{output} = $block->{code};
				$found[-1]{end} = $n;
			}
			else
			{
				push @found, { %$block, end => $n };
			}
			undef $block;
		}
		elsif ($block)
		{
			$block->{code} .= "$line\n";
		}
		elsif ($line =~ /^```(\w*)$/)
		{
			$block = { language => $1, line => $n, code => '' };
		}
	}
	die "block at line $block->{line} has no end" if $block;
	return @found;
}

# The statements of an SQL block: their text, and what they return according to
# "-- =>".
sub statements
{
	my ($code) = @_;
	my @found;
	my $statement = '';
	my $quoted = 0;

	foreach my $line (split /\n/, $code)
	{
		$statement .= "$line\n";
		$quoted ^= 1 foreach $line =~ /\$\$/g;
		next if $quoted;
		if ($line =~ /^\\/ || $line =~ m{ \\g /dev/null$} || $line =~ /;\s*(?:-- => (.*\S)|--.*)?\s*$/)
		{
			push @found, { text => $statement, value => $1 };
			$statement = '';
		}
	}
	push @found, { text => "$statement;\n" } if $statement =~ /^\s*[^\s-]/m;
	return @found;
}

# Output as it is compared: without void results, and blanks at the ends of lines.
sub comparable
{
	my ($output) = @_;

	$output =~ s/^ \w+ *\n-+\n *\n\(1 row\)\n//mg;
	$output =~ s/^Asynchronous notification .*\n//mg;
	$output =~ s/[ \t]+$//mg;
	$output =~ s/^\n//mg;
	return $output;
}

# The one value in psql's output.
sub value_of
{
	my ($output) = @_;

	return $output =~ /^.*\n-+\n *(.*?) *\n\(1 row\)\n/ ? $1 : $output;
}

# Start a psql whose whole output, errors included, comes in the order of what it
# was sent.
sub start_session
{
	my ($node, $db) = @_;
	my $session = { in => '', out => '' };

	# From stdin, so that messages do not begin with a file's name.
	$session->{run} = IPC::Run::start([ program($node, 'psql'), '-Xq', '-d', $node->connstr($db) ],
		'<', \$session->{in}, '>&', \$session->{out},
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return $session;
}

# Run one statement, and note its output and SQLSTATE.
sub run_statement
{
	my ($session, $statement) = @_;

	$session->{in} .= "$statement->{text}\\echo end of statement :SQLSTATE\n";
	until ($session->{out} =~ /^end of statement \w+\n/m)
	{
		die "psql stopped at $statement->{text}: $session->{out}" if !$session->{run}->pumpable;
		$session->{run}->pump;
	}
	($statement->{output}, $statement->{state}) = $session->{out} =~ /\A(.*?)^end of statement (\w+)\n/ms;
	$session->{out} = '';
	return;
}

# Run the SQL of a document in a database.  "wait", if given, is called with the
# block before each.  Returns the number of SQL blocks.
sub run_document
{
	my ($node, $db, $text, $wait) = @_;
	my @blocks = grep { $_->{language} eq 'sql' } fenced_blocks($text);
	my %session;

	foreach my $block (@blocks)
	{
		my ($name) = $block->{code} =~ /\A-- session (\w+)\n/;
		my $rest = '';

		$name = '' if !defined $name;
		$session{$name} = start_session($node, $db) if !$session{$name};
		$wait->($block) if $wait;
		foreach my $statement (statements($block->{code}))
		{
			run_statement($session{$name}, $statement);
			if (defined $statement->{value})
			{
				is(value_of($statement->{output}), $statement->{value},
					"line $block->{line}: " . (split /\n/, $statement->{text})[-1]);
			}
			else
			{
				$rest .= $statement->{output};
			}
			is($statement->{state}, '00000', "line $block->{line}: succeeds") or diag($statement->{output})
			  unless defined $block->{output} || $statement->{text} =~ /^\\/;
		}
		is(comparable($rest), comparable(defined $block->{output} ? $block->{output} : ''),
			"line $block->{line}: output of the block");
	}
	foreach my $name (keys %session)
	{
		$session{$name}{in} .= "\\q\n";
		$session{$name}{run}->finish;
	}
	return scalar @blocks;
}

1;
