# A headless Chromium, driven by the WebDriver protocol of its chromedriver.

package EventstoreBrowser;

use strict;
use warnings;

use HTTP::Tiny;
use IPC::Run;
use JSON::PP;
use MIME::Base64;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(usleep);

# The key by which the protocol marks elements.
my $ELEMENT = 'element-6066-11e4-a52e-4f735466cecf';

# What the protocol calls keys.
our %KEY = (enter => "\x{e007}", tab => "\x{e004}", escape => "\x{e00c}");

# Is everything there that it takes?
sub usable
{
	return defined _find('chromedriver') && (defined _find('chromium') || defined _find('chromium-browser'));
}

sub _find
{
	my ($name) = @_;

	return (grep { -x } map { "$_/$name" } split(/:/, $ENV{PATH}), '/usr/bin', '/usr/lib/chromium')[0];
}

# Start one.  Options: dark, width, height.
sub new
{
	my ($class, %opt) = @_;
	my $self = bless { log => '', json => JSON::PP->new->utf8->allow_nonref, %opt }, $class;
	my $directory = PostgreSQL::Test::Utils::tempdir('browser');
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $end = time() + $PostgreSQL::Test::Utils::timeout_default;

	# It keeps its things in the home folder otherwise.
	local $ENV{HOME} = $directory;
	$self->{base} = "http://127.0.0.1:$port";
	$self->{driver} = IPC::Run::start([ _find('chromedriver'), "--port=$port" ], '<', \undef, '>&', \$self->{log});
	until (HTTP::Tiny->new(timeout => 5)->get("$self->{base}/status")->{success})
	{
		die "chromedriver does not start: $self->{log}" if time() > $end || !$self->{driver}->pumpable;
		$self->{driver}->pump_nb;
		usleep(50_000);
	}
	my $answer = $self->_call('POST', '/session', { capabilities => { alwaysMatch => {
		browserName => 'chrome',
		'goog:loggingPrefs' => { browser => 'ALL' },
		'goog:chromeOptions' => {
			binary => _find('chromium') || _find('chromium-browser'),
			# Without the sandbox, which a container need not allow, and the only pages are ours.
			args => [
				'--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--hide-scrollbars',
				'--disable-background-networking', "--user-data-dir=$directory/profile",
				'--window-size=' . ($opt{width} || 1240) . ',' . ($opt{height} || 800),
				'--lang=en-GB', ($opt{dark} ? '--force-dark-mode' : ()),
			] } } } });
	$self->{session} = "/session/$answer->{sessionId}";
	return $self;
}

sub _call
{
	my ($self, $method, $path, $body) = @_;
	my $response = HTTP::Tiny->new(timeout => 60)->request($method, $self->{base} . $path,
		{ headers => { 'Content-Type' => 'application/json' }, defined $body ? (content => $self->{json}->encode($body)) : () });
	my $answer = eval { $self->{json}->decode($response->{content}) };

	die "chromedriver: $method $path: $response->{content}" if !$response->{success};
	return $answer->{value};
}

sub go
{
	my ($self, $url) = @_;

	$self->_call('POST', "$self->{session}/url", { url => $url });
	return;
}

# What a script in the page returns.
sub script
{
	my ($self, $script, @arguments) = @_;

	return $self->_call('POST', "$self->{session}/execute/sync", { script => $script, args => \@arguments });
}

# Wait until a script returns something true, and return that.
sub wait_for
{
	my ($self, $script, @arguments) = @_;
	my $end = time() + $PostgreSQL::Test::Utils::timeout_default;

	while (1)
	{
		my $value = $self->script($script, @arguments);

		return $value if $value;
		die "in vain: $script" if time() > $end;
		usleep(50_000);
	}
}

# Type into whatever has the focus, with real key presses.
sub type
{
	my ($self, $text) = @_;

	$self->_call('POST', "$self->{session}/actions", { actions => [ { type => 'key', id => 'keyboard',
		actions => [ map { ({ type => 'keyDown', value => $_ }, { type => 'keyUp', value => $_ }) } split //, $text ] } ] });
	return;
}

# Click on the first element that a CSS selector finds.
sub click
{
	my ($self, $selector) = @_;
	my $element = $self->_call('POST', "$self->{session}/element", { using => 'css selector', value => $selector });

	$self->_call('POST', "$self->{session}/element/$element->{$ELEMENT}/click", {});
	return;
}

# What the page has written to the console since the last call: errors, mostly.
sub console
{
	my ($self) = @_;

	return join "\n", map { $_->{message} } @{ $self->_call('POST', "$self->{session}/se/log", { type => 'browser' }) };
}

sub screenshot
{
	my ($self, $file) = @_;

	open my $handle, '>:raw', $file or die "$file: $!";
	print $handle decode_base64($self->_call('GET', "$self->{session}/screenshot"));
	close $handle or die "$file: $!";
	return;
}

sub quit
{
	my ($self) = @_;

	eval { $self->_call('DELETE', $self->{session}) };
	$self->{driver}->kill_kill;
	return;
}

1;
