# Course subscriptions under load, for the tests: the example's commands from many
# sessions at once, and what must hold afterwards.
#
# Every rule is checked by the log itself: its order by position is an order in which
# the decisions could have been made one by one, because whoever decides on a tag keeps
# others from it until its own event has a position.

package EventstoreCourses;

use strict;
use warnings;

use EventstoreTest;
use Exporter 'import';
use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(make_courses start_commands commands_are_done broken_rules);

our $COURSES = 12;
our $STUDENTS = 90;

# The example in a database of its own, with courses of different sizes, and a table
# for what each command was told.
sub make_courses
{
	my ($node, $db) = @_;

	make_database($node, $db, 'app');
	$node->safe_psql('postgres', "ALTER DATABASE $db SET search_path = app, public");
	$node->safe_psql($db, slurp_file("$FindBin::RealBin/../../examples/course-subscriptions/courses.sql"));
	$node->safe_psql(
		$db, qq(
		SELECT define_course('c' || n, 12 + 3 * n) FROM generate_series(1, $COURSES) AS n;
		CREATE TABLE outcomes (client integer, course text, student text, outcome text);
		CREATE PROCEDURE note_subscription_in_steps(client integer, course text, student text) LANGUAGE plpgsql AS \$\$
		DECLARE
			outcome text;
		BEGIN
			CALL subscribe_in_steps(course, student, outcome);
			INSERT INTO outcomes VALUES (client, course, student, outcome);
		END \$\$));
	return;
}

my $choose = "\\set c random(1, $COURSES)\n\\set s random(1, $STUDENTS)\n";
my %scripts = (
	execute => "${choose}INSERT INTO outcomes SELECT :client_id, 'c' || :c, 's' || :s, subscribe('c' || :c, 's' || :s);\n",
	steps => "${choose}CALL note_subscription_in_steps(:client_id, 'c' || :c, 's' || :s);\n",
	leave => "${choose}INSERT INTO outcomes SELECT :client_id, 'c' || :c, 's' || :s, unsubscribe('c' || :c, 's' || :s);\n",

	# A plain writer, open for a while, and sometimes given up.
	resize => "${choose}\\set size random(0, 40)\n\\set wait random(0, 3)\nBEGIN;\nSELECT change_capacity('c' || :c, :size);\n"
	  . "\\sleep :wait ms\n\\if :size > 35\nROLLBACK;\n\\else\nCOMMIT;\n\\endif\n");

# Start the commands of a mix (name => weight).  Options: clients; transactions (of each
# client) or seconds; mutant.  Returns what commands_are_done() takes.
sub start_commands
{
	my ($node, $db, $mix, %opt) = @_;
	my $directory = PostgreSQL::Test::Utils::tempdir('courses');
	my $run = { out => '', err => '', total => $opt{transactions} && $opt{clients} * $opt{transactions} };
	my @files;
	local $ENV{PGOPTIONS} = defined $opt{mutant} ? "-c eventstore.mutant=" . ($opt{mutant} =~ s/ /\\ /gr) : '';

	foreach my $name (sort keys %$mix)
	{
		append_to_file("$directory/$name", $scripts{$name});
		push @files, '-f', "$directory/$name\@$mix->{$name}";
	}
	$run->{pgbench} = IPC::Run::start(
		[
			program($node, 'pgbench'), '--no-vacuum', '-c', $opt{clients}, '-j', 2,
			$opt{transactions} ? ('-t', $opt{transactions}) : ('-T', $opt{seconds}),
			@files, '-h', $node->host, '-p', $node->port, $db
		],
		'<', \undef, '>', \$run->{out}, '2>', \$run->{err},
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return $run;
}

# Wait for them; none may have failed.
sub commands_are_done
{
	my ($run, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$run->{pgbench}->finish;
	return ok($run->{out} =~ m{actually processed: $run->{total}/$run->{total}\b} && $run->{err} !~ /error|aborted/i, "$name: no command failed")
	  || diag("$run->{out}$run->{err}");
}

# What is wrong with the log, one line for each finding: at each event, the number of
# students of the course, or of courses of the student, after it.
sub broken_rules
{
	my ($node, $db) = @_;

	return $node->safe_psql(
		$db, q(
		CREATE TEMPORARY VIEW log AS
			SELECT position, type, c.course, data->>'student' AS student,
				   CASE type WHEN 'subscribed' THEN 1 WHEN 'unsubscribed' THEN -1 ELSE 0 END AS change, (data->>'capacity')::integer AS capacity
			FROM app.es_events, LATERAL (SELECT coalesce(data->>'course', substr(key, 8))) AS c (course);

		SELECT format('position %s: course %s has %s students, capacity %s', position, course, taken, capacity)
		FROM (SELECT position, course, type, sum(change) OVER (PARTITION BY course ORDER BY position) AS taken,
					 (SELECT capacity FROM log AS e WHERE e.course = l.course AND e.capacity IS NOT NULL AND e.position < l.position
					  ORDER BY e.position DESC LIMIT 1) AS capacity
			  FROM log AS l) AS f
		WHERE type = 'subscribed' AND taken > capacity ORDER BY position LIMIT 5;

		SELECT format('position %s: student %s takes %s courses', position, student, courses)
		FROM (SELECT position, student, type, sum(change) OVER (PARTITION BY student ORDER BY position) AS courses FROM log WHERE student IS NOT NULL) AS f
		WHERE type = 'subscribed' AND courses > 5 ORDER BY position LIMIT 5;

		SELECT format('position %s: student %s has subscribed to course %s %s times', position, student, course, times)
		FROM (SELECT position, student, course, sum(change) OVER (PARTITION BY student, course ORDER BY position) AS times FROM log WHERE student IS NOT NULL) AS f
		WHERE times NOT IN (0, 1) ORDER BY position LIMIT 5;
	));
}

1;
