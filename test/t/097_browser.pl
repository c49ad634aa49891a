# The event browser shows what is in the store, by keyboard too; what payloads say stays text;
# and neither it nor its server can be made to change or tell more.
#
# EVENTSTORE_SCREENSHOTS=FOLDER makes the screenshots of its documentation.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreBrowser;
use EventstoreDocument;
use EventstoreTest;
use HTTP::Tiny;
use IO::Socket::INET;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $top = "$FindBin::RealBin/../..";
my $folder = "$top/examples/browser";
my $shots = $ENV{EVENTSTORE_SCREENSHOTS};

# A python3 first on the path need not be the one with the distribution's modules.
my ($python) = grep { IPC::Run::run([ $_, '-c', 'import psycopg' ], '<', \undef, '>', \my $out, '2>', \my $err) }
  grep { /^python3$/ || -x } 'python3', '/usr/bin/python3';
plan skip_all => 'the event browser: needs the package python3-psycopg' if !defined $python;

# ---------------------------------------------------------------------------
# A shop
# ---------------------------------------------------------------------------

my $node = start_node('main');
make_database($node, 'test', 'shop', 'warehouse');
$node->safe_psql('test', slurp_file("$folder/shop.sql"));
my $readme = slurp_file("$folder/README.md");
$node->safe_psql('test', $_->{code}) foreach grep { $_->{language} eq 'sql' } fenced_blocks($readme);
$node->safe_psql('test', q(SELECT es_grant('browser', 'reader', 'warehouse'); CREATE ROLE stranger LOGIN));
ok(-e "$folder/$_", "$_ is there") foreach $readme =~ /\]\((?!http)([^)]+)\)/g;

$node->safe_psql('test', q(
	SELECT setval('warehouse.es_position_seq', 9007199254740992);
	SET eventstore.store = 'warehouse';
	SELECT es_append('shelf-1', '[{"type": "Filled"}, {"type": "Emptied"}]', 0)));
my $before = store_contents($node, 'test', 'shop');

# ---------------------------------------------------------------------------
# The server
# ---------------------------------------------------------------------------

my $port = PostgreSQL::Test::Cluster::get_free_port();
my $url = "http://127.0.0.1:$port";
my $log = '';

sub start_server
{
	my ($user, @options) = @_;
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGUSER => $user, PGDATABASE => 'test', PYTHONDONTWRITEBYTECODE => 1);

	return IPC::Run::start([ $python, "$folder/browser.py", '--port', $port, @options ], '<', \undef, '>&', \$log,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default * 2));
}

sub get
{
	my ($path) = @_;

	return HTTP::Tiny->new(timeout => 30)->get("$url$path");
}

sub answer
{
	return decode_json(get(@_)->{content});
}

my $server = start_server('browser');
$server->pump until $log =~ /Listening on (\S+)/ || !$server->pumpable;
is($1, "$url/", 'listens on this machine only, by default') or diag($log);

# Every answer forbids what a payload could try.
my @paths = ('/', '/app.js', '/api/stores', '/api/log?store=shop', '/api/log', '/api/nothing', '/../store.py', '/static/app.js', '/%2e%2e/store.py');
my @open = grep { (get($_)->{headers}{'content-security-policy'} // '') !~ /^default-src 'none'; script-src 'self';/
	  || get($_)->{headers}{'x-content-type-options'} ne 'nosniff' } @paths;
is("@open", '', 'every answer has the security policy');
is(join(' ', map { get($_)->{status} } @paths), '200 200 200 200 400 404 404 404 404', 'no file but its own is given out');
# From a web page whose name has come to mean this machine, say.
foreach my $path ('/', '/api/log?store=shop')
{
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or die "cannot connect: $!";

	print $socket "GET $path HTTP/1.1\r\nHost: evil.example:$port\r\nConnection: close\r\n\r\n";
	like(join('', <$socket>), qr{^HTTP/1.1 403 .*This host name is not one of}s, "no other name leads to $path");
}
is(HTTP::Tiny->new->request($_, "$url/api/stores")->{status}, 501, "it does not know $_") foreach qw(POST PUT DELETE);

# Arguments are values, whatever is in them.
foreach my $argument (q('; DROP TABLE shop.es_events; --), q(' OR 1=1 --), q($$), '\\', q(%s), q({0}), '[]', '{"types": 1}')
{
	my $escaped = HTTP::Tiny->new->_uri_escape($argument);
	my @status = map { get("/api/$_")->{status} } (
		"aggregate?store=shop&key=$escaped", "log?store=$escaped", "log?store=shop&types=$escaped&tags=$escaped&categories=$escaped",
		"log?store=shop&before=$escaped", "aggregate?store=shop&key=a&from=$escaped", "trace?store=shop&position=$escaped", "status?store=$escaped");

	is("@status", '200 404 200 400 400 400 404', "as an argument: $argument");
}
is(get("/api/$_")->{status}, 400, $_)
  foreach ('aggregate?store=shop&key=%00', 'aggregate?store=shop&key=', 'log?store=shop&count=0', 'log?store=shop&count=1000', 'log?store=shop&before=9223372036854775808',
	'log?store=shop&before=' . '9' x 5000, 'log?store=shop&tags=', 'trace?store=shop&position=0', 'log?store=shop&types=%00');
is(answer('/api/aggregate?store=shop&key=' . 'x' x 513)->{code}, '22023', 'errors of the database come with their code');
same_contents(store_contents($node, 'test', 'shop'), $before, 'nothing was changed');
is($node->safe_psql('postgres', "SELECT bool_and(query !~* '^(insert|update|delete)') AND count(*) > 0 FROM pg_stat_activity WHERE application_name = 'eventstore-browser'"),
	't', 'it is connected');

# Only functions and views; the tables are nobody's business here.
my $source = slurp_file("$folder/store.py");
my @relations = $source =~ /\b(?:FROM|JOIN) (\w+)/g;
cmp_ok(scalar @relations, '>', 10, 'it has SQL');
my @functions = $source =~ /\b(es_\w+)/g;
is(join(' ', grep { $readme !~ /`$_`/ } @functions), '', 'which its page names');
is(join(' ', grep { !/^(?:es_read|es_read_all|es_stat_store|es_stat_subscription|es_in_flight|pg_extension|pg_namespace)$/ } @relations), '', 'from functions and views');

# What it tells is what is there.
my $events = $node->safe_psql('test', q(SELECT string_agg(position::text, ' ' ORDER BY position DESC) FROM shop.es_events));
my ($seen, $low) = ('', '');
do
{
	my $page = answer("/api/log?store=shop&count=37$low");
	$seen .= join '', map { "$_->{position} " } @{ $page->{events} };
	$low = $page->{reached} ? '&before=' . ($page->{reached} + 1) : undef;
} while (defined $low);
is($seen, "$events ", 'page after page, back to the begin of the log: all events');
is(join(' ', map { $_->{position} } @{ answer('/api/log?store=warehouse')->{events} }), '9007199254740994 9007199254740993', 'positions beyond 2^53');
is(answer('/api/log?store=warehouse&after=9007199254740993')->{events}[0]{position}, '9007199254740994', 'in both directions');
is(answer('/api/log?store=shop&after=0&count=1')->{reached}, 1, 'a full page leads to the next');
is(join(' ', @{ answer('/api/stores')->{stores} }), 'shop warehouse', 'all stores');

# The database goes away and comes back.
$node->restart;
is(get('/api/stores')->{status}, 200, 'connections are made anew') foreach 1 .. 4;
$node->stop;
is(get('/api/stores')->{status}, 503, 'without the database');
unlike(get('/api/stores')->{content}, qr/socket|host|port/, 'nothing is told about it');
$node->start;
is(get('/api/stores')->{status}, 200, 'and it is there again');

# A role without rights gets nothing.
{
	my $first = $server;
	my $first_port = $port;
	$port = PostgreSQL::Test::Cluster::get_free_port();
	$url = "http://127.0.0.1:$port";
	$log = '';
	my $other = start_server('stranger');
	$other->pump until $log =~ /Listening/ || !$other->pumpable;
	is(scalar @{ answer('/api/stores')->{stores} }, 0, 'a role without rights sees no store');
	is(get('/api/log?store=shop')->{status}, 403, 'and no event');
	$other->kill_kill;
	$port = $first_port;
	$url = "http://127.0.0.1:$port";
}

# ---------------------------------------------------------------------------
# The page
# ---------------------------------------------------------------------------

my $ready = 'return document.readyState == "complete" && document.querySelector("main h1") && !document.querySelector("main[aria-busy]")';

# The text of all elements that a selector finds.
sub texts
{
	my ($browser, $selector) = @_;

	return $browser->script('return [...document.querySelectorAll(arguments[0])].filter((e) => e.checkVisibility()).map((e) => e.textContent)', $selector);
}

sub positions
{
	my ($browser) = @_;

	return join ' ', @{ $browser->script('return [...document.querySelectorAll(".event")].map((e) => e.dataset.position)') };
}

# Leave the page that is shown, by whatever the function does, and wait for the next.
sub leads_to
{
	my ($browser, $action) = @_;

	$browser->script('document.querySelector("main h1").dataset.old = 1');
	$action->();
	$browser->wait_for('return !document.querySelector("main h1[data-old]")');
	$browser->wait_for($ready);
	return;
}

sub go
{
	my ($browser, $page) = @_;

	$browser->go('about:blank');
	$browser->go("$url/$page");
	$browser->wait_for($ready);
	return;
}

sub shoot
{
	my ($browser, $name) = @_;

	$browser->screenshot("$shots/$name.png") if defined $shots;
	return;
}

sub expected
{
	my ($sql) = @_;

	return $node->safe_psql('test', "SET search_path = shop, public; $sql");
}

SKIP:
{
	skip 'the page of the event browser: needs the packages chromium and chromium-driver', 1 if !EventstoreBrowser::usable();
	my $browser = EventstoreBrowser->new(width => 1120, height => 760);

	# The log, page by page with the keyboard.
	go($browser, '');
	is(positions($browser), join(' ', (split / /, $events)[ 0 .. 49 ]), 'the log: the latest events');
	my $walked = positions($browser);
	while ($browser->script('return !!document.querySelector("a[rel=next]")'))
	{
		leads_to($browser, sub { $browser->type('n') });
		$walked .= ' ' . positions($browser);
	}
	is($walked, $events, 'n, again and again: to the begin of the log');
	leads_to($browser, sub { $browser->type('p') });
	is(positions($browser), join(' ', (reverse split / /, $events)[ reverse map { $_ + scalar(split / /, $events) % 50 } 0 .. 49 ]), 'p: the page before');

	# Filters.
	go($browser, '');
	$browser->click('input[name=categories]');
	$browser->type('order, shipment');
	$browser->click('input[name=types]');
	$browser->type('Placed,Requested');
	leads_to($browser, sub { $browser->type($EventstoreBrowser::KEY{enter}) });
	is(positions($browser), expected(q(SELECT string_agg(position::text, ' ' ORDER BY position DESC) FROM
		(SELECT position FROM es_events WHERE es_category(key) IN ('order', 'shipment') AND type IN ('Placed', 'Requested') ORDER BY position DESC LIMIT 50) AS e)),
		'filtered by category and type');
	is($browser->script('return document.querySelector("input[name=types]").value'), 'Placed, Requested', 'the filter is still there');
	leads_to($browser, sub { $browser->click('.clear') });
	is(positions($browser), join(' ', (split / /, $events)[ 0 .. 49 ]), 'and gone');

	# Events open and close.
	$browser->type('jjo');
	is($browser->script('return document.activeElement.dataset.position'), (split / /, $events)[1], 'j chooses an event');
	is(scalar @{ texts($browser, '.event .body') }, 1, 'o opens it');
	shoot($browser, 'log');
	$browser->type('o');
	is(scalar @{ texts($browser, '.event .body') }, 0, 'and closes it');

	# An aggregate.
	leads_to($browser, sub { $browser->type("/order-1007$EventstoreBrowser::KEY{enter}") });
	is(texts($browser, 'h1')->[0], 'order-1007', '/ goes to an aggregate');
	is(positions($browser), expected(q(SELECT string_agg(position::text, ' ' ORDER BY version) FROM es_read('order-1007'))), 'with its events');
	$browser->type('e');
	is(scalar @{ texts($browser, '.event .body') }, expected(q(SELECT es_version('order-1007'))), 'e opens all');
	like(texts($browser, '.body')->[0], qr/customer: "dan"/, 'with their data');
	shoot($browser, 'aggregate');
	leads_to($browser, sub { $browser->click('.order a:last-child') });
	is(positions($browser), expected(q(SELECT string_agg(position::text, ' ' ORDER BY version DESC) FROM es_read('order-1007'))), 'the last first');
	leads_to($browser, sub { $browser->type("/no-such-one$EventstoreBrowser::KEY{enter}") });
	like(texts($browser, 'main')->[0], qr/There is no aggregate with this key/, 'one that does not exist');

	# Causes and effects.
	leads_to($browser, sub { $browser->type("/order-1007$EventstoreBrowser::KEY{enter}") });
	$browser->type('jj');
	leads_to($browser, sub { $browser->type('t') });
	my $tree = $browser->script(q{return [...document.querySelectorAll(".event")].map((e) => [e.parentElement.closest(".event")?.dataset.position ?? "", e.dataset.position].join(">")).sort().join(" ")});
	is($tree, expected(q(SELECT string_agg(concat(c.position, '>', e.position), ' ' ORDER BY concat(c.position, '>', e.position) COLLATE "C")
		FROM es_events AS e LEFT JOIN es_events AS c ON c.id::text = e.metadata->>'causation_id' WHERE e.metadata->>'correlation_id' = 'checkout-7007')),
		't: the tree of causes and effects');
	is(texts($browser, '.event[aria-current] > .head .toggle')->[0], 'Event at position ' . expected(q(SELECT position FROM es_read('order-1007', 2, 2))), 'with the event itself marked');
	shoot($browser, 'trace');

	# Subscriptions and activity, which follow.
	leads_to($browser, sub { $browser->type('2') });
	is(join(' ', map { s/[^\d]//gr } @{ texts($browser, 'td.lag') }), expected(q(SELECT string_agg(lag::text, ' ' ORDER BY subscription, partition) FROM es_stat_subscription WHERE store = 'shop')), 'the lag of the subscriptions');
	is(join(' ', @{ texts($browser, 'td:nth-child(6)') }), expected(q(SELECT string_agg(parked::text, ' ' ORDER BY subscription, partition) FROM es_stat_subscription WHERE store = 'shop')), 'and what is parked');
	shoot($browser, 'subscriptions');
	leads_to($browser, sub { $browser->type('3') });
	my $conflicts = expected(q(SELECT conflicts FROM es_stat_store WHERE store = 'shop'));
	cmp_ok($conflicts, '>', 0, 'there were conflicts');
	is(texts($browser, '.conflicts b')->[0], $conflicts, 'which are shown');
	my $open = new_session($node, 'test');
	$open->get(q(BEGIN; SELECT es_append('order-1007', '[{"type": "Noted"}]')));
	$node->safe_psql('test', q(SELECT es_try_append('order-1001', '[{"type": "Noted"}]', 0) FROM generate_series(1, 5)));
	$browser->wait_for('return document.querySelector(".conflicts b").textContent == arguments[0]', $conflicts + 5);
	is($browser->wait_for('return document.querySelector("main tbody td:nth-child(3)")?.textContent'), $open->pid, 'who holds the log back');
	$browser->wait_for('return [...document.querySelectorAll(".rate .now")].every((e) => /^\d/.test(e.textContent))');
	shoot($browser, 'activity');
	$open->get('ROLLBACK');
	$open->quit;

	# Live.
	go($browser, '');
	$browser->type('l');
	my $new = $node->safe_psql('test', q(SELECT last_position FROM es_try_append('order-2000', '[{"type": "Placed"}, {"type": "Paid"}]', 0)));
	$browser->wait_for('return document.querySelector(".event").dataset.position == arguments[0]', $new);
	is((split / /, positions($browser))[1], $new - 1, 'l: new events come by themselves, the latest first');
	$node->safe_psql('test', q(SELECT es_append('order-2000', '[{"type": "Shipped"}]', 2)));
	$browser->wait_for('return document.querySelector(".event").dataset.position == arguments[0]', $new + 1);
	is($browser->script('return document.querySelectorAll(".event.new").length'), 3, 'each once');

	# Another store, and positions that JavaScript's numbers do not hold.
	leads_to($browser, sub { $browser->script(q{const s = document.getElementById("store"); s.value = "warehouse"; s.dispatchEvent(new Event("change"))}) });
	is(positions($browser), '9007199254740994 9007199254740993', 'another store');
	is($browser->console, '', 'nothing to complain about');

	# What payloads say stays text, whatever they would do as markup.
	my $attack = q{<img src=x onerror="window.owned=1"><script>window.owned=2</script>"'`&lt;};
	my $deep = '[' x 50 . '1' . ']' x 50;
	$node->safe_psql('test', qq~
		SELECT es_append(\$\$attack-$attack\$\$, jsonb_build_array(jsonb_build_object(
			'type', \$\$T$attack\$\$, 'tags', jsonb_build_array(\$\$tag,$attack\$\$),
			'data', jsonb_build_object('text', \$\$$attack\$\$, \$\$$attack\$\$, 1, '__proto__', jsonb_build_object('owned', true),
				'number', 12345678901234567890.1234567890, 'empty', '{}'::jsonb, 'deep', '$deep'::jsonb,
				'long', repeat('x', 1000), 'unicode', U&'\\202E\\+01F600 end'),
			'metadata', jsonb_build_object('correlation_id', \$\$$attack\$\$, 'causation_id', \$\$$attack\$\$))), 0)~);
	$before = store_contents($node, 'test', 'shop');
	go($browser, '#/log?store=shop&categories=attack');
	is(positions($browser), expected(qq(SELECT position FROM es_events WHERE es_category(key) = 'attack')), 'the hostile event');
	$browser->type('e');
	my $shown = texts($browser, '.event')->[0];
	is(scalar(() = $shown =~ /\Q$attack\E/g), 6, 'its texts are shown as they are: type, key, name of a field, tag, correlation and cause')
	  or diag($shown);
	my $quoted = JSON::PP->new->allow_nonref->encode($attack);
	like($shown, qr/text: \Q$quoted\E/, 'the same in the data');
	like($shown, qr/number: 12345678901234567890\.1234567890/, 'numbers as they are stored');
	like($shown, qr/__proto__: \{ 1 \}owned: true/, 'names are names');
	leads_to($browser, sub { $browser->click('.tag') });
	is(scalar(split / /, positions($browser)), 1, 'its tag leads to it');
	leads_to($browser, sub { $browser->click('a.key') });
	is(texts($browser, 'h1')->[0], "attack-$attack", 'so does its key');
	leads_to($browser, sub { $browser->click('.body .trace') });
	is(scalar(split / /, positions($browser)), 1, 'and its trace');
	is($browser->script('return [window.owned, Object.prototype.owned, document.querySelectorAll("img, script, iframe, object").length].join()'), ',,1',
		'nothing of it has become an element, or has run');
	is($browser->console, '', 'or has tried to');
	unlike(join('', map { slurp_file($_) } glob("$folder/static/*.js")), qr/innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function/, 'no string becomes markup or code');

	# Errors are told.
	go($browser, '#/log?store=nowhere');
	like(texts($browser, '[role=alert]')->[0], qr/schema "nowhere".*does not exist/, 'an error of the database');

	# Light and dark; what is written can be read; fields have names.
	my $contrast = <<'JS';
		const rgb = (text) => text.match(/[\d.]+/g).map(Number);
		const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
		const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length == 3 || c[3] > 0) return c; } return [255, 255, 255]; };
		const poor = [];
		for (const e of document.querySelectorAll("header *, main *")) {
			if (![...e.childNodes].some((n) => n.nodeType == 3 && n.textContent.trim()) || !e.checkVisibility()) continue;
			const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
			if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(`${e.className} ${e.textContent.slice(0, 20)} ${((a + 0.05) / (b + 0.05)).toFixed(2)}`);
		}
		return [...new Set(poor)].join("; ");
JS
	go($browser, '#/aggregate?store=shop&key=order-1007&from=1');
	is($browser->script($contrast), '', 'light: every text can be read');
	my $light = $browser->script('return getComputedStyle(document.body).backgroundColor');
	$browser->click('#theme');
	isnt($browser->script('return getComputedStyle(document.body).backgroundColor'), $light, 'dark is another colour');
	is($browser->script($contrast), '', 'dark: every text can be read');
	go($browser, '#/log?store=shop');
	is($browser->script('return document.documentElement.dataset.theme'), 'dark', 'and stays so');
	is($browser->script($contrast), '', 'the log, too');
	is($browser->script('return [...document.querySelectorAll("input, select, button")].filter((e) => !e.labels?.length && !e.textContent.trim() && !e.ariaLabel).length'), 0, 'every field has a name');
	$browser->type('?');
	is($browser->script('return document.querySelector("dialog").open'), JSON::PP::true, '? tells the keys');
	$browser->type($EventstoreBrowser::KEY{escape});
	go($browser, '#/log?store=shop&categories=order&categories=payment');
	$browser->type('jjjo');
	shoot($browser, 'dark');

	# Without its server.
	go($browser, '#/activity?store=shop');
	$server->kill_kill;
	is($browser->wait_for('return document.getElementById("message").textContent'), 'The server does not answer.', 'a server that is gone');
	$browser->quit;
}
eval { $server->kill_kill };

same_contents(store_contents($node, 'test', 'shop'), $before, 'it has changed nothing', qr/^(?:events|aggregates|sequence)\|/);
store_is_sound($node, 'test', 'shop', 'afterwards');
unlike(slurp_file($node->logfile), qr/cannot execute .* in a read-only transaction|syntax error/, 'and has not tried to');
$node->stop;
done_testing();
