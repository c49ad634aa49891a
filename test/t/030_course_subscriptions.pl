# The example of course subscriptions, with 20 sessions that subscribe by es_execute_many
# and by es_query with es_append_many: no course is ever overbooked, no student takes
# more courses than he may, and no command is lost.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreCourses;
use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $clients = 20;

my $node = start_node('main', conf => "max_connections = 50\ntrack_functions = pl\n");

# ---------------------------------------------------------------------------
# Subscriptions only: a refusal must still be right in the end.
# ---------------------------------------------------------------------------

make_courses($node, 'fill');
my $query = sub { return $node->safe_psql('fill', $_[0]); };

commands_are_done(start_commands($node, 'fill', { execute => 1, steps => 1 }, clients => $clients, transactions => 150), 'subscriptions');
no_deadlocks($node, 'subscriptions');
store_is_sound($node, 'fill', 'app', 'subscriptions');
is(broken_rules($node, 'fill'), '', 'subscriptions: both limits hold at every event');

is($query->('SELECT count(*) FROM outcomes'), $clients * 150, 'every command got an answer');
is( $query->(
		q(SELECT coalesce(e.course, o.course), coalesce(e.student, o.student), o.n
		FROM (SELECT data->>'course' AS course, data->>'student' AS student FROM app.es_events WHERE type = 'subscribed') AS e
			FULL JOIN (SELECT course, student, count(*) AS n FROM outcomes WHERE outcome = 'subscribed' GROUP BY 1, 2) AS o USING (course, student)
		WHERE e.course IS NULL OR o.n IS DISTINCT FROM 1)),
	'', 'each acknowledged subscription is stored once, and no other');
is( $query->(
		q(SELECT DISTINCT o.course, o.student, o.outcome
		FROM outcomes AS o
		WHERE CASE
			WHEN outcome = 'subscribed' THEN false
			WHEN outcome = 'was subscribed' THEN NOT EXISTS (SELECT FROM outcomes AS p WHERE p.outcome = 'subscribed' AND (p.course, p.student) = (o.course, o.student))
			WHEN outcome = 'course ' || course || ' is full' THEN
				(SELECT count(*) FROM app.es_tags WHERE tag = 'course:' || o.course) - 1 <
				(SELECT (data->>'capacity')::integer FROM app.es_events WHERE key = 'course-' || o.course)
			WHEN outcome = 'student ' || student || ' takes five courses' THEN (SELECT count(*) FROM app.es_tags WHERE tag = 'student:' || o.student) <> 5
			ELSE true
		END)),
	'', 'who was refused for capacity finds the course full, who was refused for the limit takes as many');

my $happened = $query->(q(SELECT regexp_replace(outcome, '\m[cs]\d+', '...'), count(*) FROM outcomes GROUP BY 1 ORDER BY 1));
note $happened;
like($happened, qr/^$_\|/m, "some were told: $_")
  foreach ('subscribed', 'was subscribed', 'course ... is full', 'student ... takes five courses');
# Those that end with an error are not counted there.
my $again = $query->(
	q(SELECT calls - (SELECT count(*) FROM outcomes WHERE outcome IN ('subscribed', 'was subscribed'))
	FROM pg_stat_user_functions WHERE funcname = 'decide_subscription'));
note "$again decisions were made again";
cmp_ok($again, '>', 0, 'some decisions had to be made again');

# ---------------------------------------------------------------------------
# Subscriptions come and go, and plain writers change the capacity.
# ---------------------------------------------------------------------------

make_courses($node, 'change');
$query = sub { return $node->safe_psql('change', $_[0]); };

commands_are_done(
	start_commands($node, 'change', { execute => 4, steps => 4, leave => 4, resize => 1 }, clients => $clients, transactions => 150), 'changes');
no_deadlocks($node, 'changes');
store_is_sound($node, 'change', 'app', 'changes');
is(broken_rules($node, 'change'), '', 'changes: every decision knew of all that came before it');
is( $query->(
		q(SELECT outcome, count(*), (SELECT count(*) FROM app.es_events WHERE type = outcome)
		FROM outcomes WHERE outcome IN ('subscribed', 'unsubscribed') GROUP BY outcome
		HAVING count(*) <> (SELECT count(*) FROM app.es_events WHERE type = outcome))),
	'', 'changes: as many events as were acknowledged');
cmp_ok($query->("SELECT count(*) FROM app.es_events WHERE type = '$_'"), '>', 20, "changes: there were some $_")
  foreach ('subscribed', 'unsubscribed', 'capacity_changed');

$node->stop;
done_testing();
