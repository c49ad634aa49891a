# Random JSON as the functions take it: half of it is right, the rest has mistakes, and
# which is which is judged here from the contract alone.

package EventstoreJson;

use strict;
use warnings;
no warnings 'recursion';

use Encode ();

# Most bytes of a key, type or tag, and of a request id.
my $MAX_KEY = 512;
my $MAX_REQUEST = 255;

# ---------------------------------------------------------------------------
# Values: [type, value], of the types of JSON
# ---------------------------------------------------------------------------

sub _one_of
{
	return $_[ rand @_ ];
}

sub _chance
{
	my ($probability) = @_;
	return rand() < $probability;
}

sub _some
{
	my ($most, $make) = @_;
	return map { $make->() } 1 .. 1 + int(rand($most));
}

# Numbers as they are written, and what they are as a version or position, if anything.
my @NUMBERS = (
	[ '0', 0 ], [ '1', 1 ], [ '2', 2 ], [ '3', 3 ], [ '-0', 0 ], [ '1.0', 1 ], [ '2e0', 2 ], [ '300e-2', 3 ],
	[ '9223372036854775807', 1 ], [ '9223372036854775807.000', 1 ],
	['9223372036854775808'], ['9223372036854775807.5'], ['-1'], ['-0.5'], ['0.5'], ['1.0000000000000000000001'],
	['1e400'], ['-1e400'], ['1e-400'], ['18446744073709551616'], ['4294967296.1'], ['1e18000'], ['-9223372036854775808']);

# Strings that somebody might trip over.
my @STRINGS = (
	'', ' ', 'a', 'order', 'order-1', 'order-', '-', '--', '%s%n', "'", "''", '"', '\\', "\\'", ");", '$1', '%1$s', '{}', '[]', 'null', 'true',
	"\x{e9}", "\x{20ac}", "\x{1f600}", "\x{202e}", "\x{feff}", "\x{fffd}", "\x{1}", "\x{7f}", "\x{85}", "\n", "\t", "a\x{0300}",
	'type', 'data', 'tags', 'key', 'events', '1', '0', '-1', '00000000-0000-0000-0000-000000000000', 'E\'\\\'', "C:\\new", 'x' x 200);

sub _string_of_bytes
{
	my ($bytes) = @_;
	my $character = _one_of('x', "\x{e9}", "\x{20ac}", "\x{1f600}");
	my $size = length Encode::encode_utf8($character);

	return ($character x int($bytes / $size)) . ('y' x ($bytes % $size));
}

sub _string
{
	my ($limit) = @_;

	return _one_of('a', 'b', 'c', 'order-1', 'order-2', 'op') if _chance(0.5);
	return _string_of_bytes(_one_of($limit - 1, $limit, $limit, $limit + 1, $limit + 1, 2 * $limit, 20 * $limit)) if _chance(0.1);
	return _one_of(@STRINGS) if _chance(0.6);
	return join '', map {
		chr _one_of(32 + int(rand(95)), 1 + int(rand(0xd7fe)), 0xe000 + int(rand(0x1000)), 0x10000 + int(rand(0xfffe)))
	} 1 .. 1 + int(rand(20));
}

sub _any
{
	my ($depth) = @_;
	my $kind = int(rand($depth > 3 ? 5 : 8));

	return ['null'] if $kind == 0;
	return [ 'boolean', _one_of('true', 'false') ] if $kind == 1;
	return [ 'number', _one_of(@NUMBERS) ] if $kind == 2;
	return [ 'string', _string(40) ] if $kind <= 4;
	return [ 'array', [ map { _any($depth + 1) } 1 .. int(rand(4)) ] ] if $kind <= 5;
	return _nested(1 + int(rand(1000))) if _chance(0.01);
	return [ 'object', [ map { [ _string(40), _any($depth + 1) ] } 1 .. int(rand(4)) ] ];
}

# As deep as that.
sub _nested
{
	my ($depth) = @_;
	my $value = ['null'];

	$value = _one_of(0, 1) ? [ 'array', [$value] ] : [ 'object', [ [ 'a', $value ] ] ] foreach 1 .. $depth;
	return $value;
}

# A string as it may be written: with the escapes that it needs, or with all there are.
sub _quote
{
	my ($string) = @_;

	if (_chance(0.1))
	{
		$string = join '', map { sprintf '\\u%04x', $_ } map {
			$_ < 0x10000 ? $_ : (0xd800 + (($_ - 0x10000) >> 10), 0xdc00 + ($_ & 0x3ff))
		} unpack 'W*', $string;
	}
	else
	{
		$string =~ s/(["\\])/\\$1/g;
		$string =~ s/([\x00-\x1f])/sprintf '\\u%04x', ord $1/ge;
	}
	return "\"$string\"";
}

sub _text
{
	my ($value) = @_;
	my ($type, $content) = @$value;
	my $space = _chance(0.02) ? _one_of(' ', "\n", "\t", "  \r\n") : '';

	return 'null' if $type eq 'null';
	return $content if $type eq 'boolean';
	return $content->[0] if $type eq 'number';
	return _quote($content) if $type eq 'string';
	return "[$space" . join(",$space", map { _text($_) } @$content) . ']' if $type eq 'array';
	return "{$space" . join(",$space", map { _quote($_->[0]) . "$space:" . _text($_->[1]) } @$content) . "}$space";
}

# ---------------------------------------------------------------------------
# Right ones
# ---------------------------------------------------------------------------

sub _good_string
{
	my ($limit) = @_;

	foreach (1 .. 100)
	{
		my $string = _string($limit);
		return [ 'string', $string ] if _is_string([ 'string', $string ], $limit);
	}
	return [ 'string', 'a' ];
}

sub _strings
{
	my ($limit, $most) = @_;
	return [ 'array', [ _some($most, sub { _good_string($limit) }) ] ];
}

sub _fields
{
	my %fields = @_;
	return [ 'object', [ map { [ $_ => $fields{$_} ] } sort { rand() <=> 0.5 } keys %fields ] ];
}

sub _uuid
{
	my $hex = join '', map { sprintf _chance(0.2) ? '%X' : '%x', int(rand(16)) } 1 .. 32;

	return $hex if _chance(0.2);
	$hex =~ s/^(.{8})(.{4})(.{4})(.{4})/$1-$2-$3-$4-/ if _chance(0.7);
	$hex =~ s/^(.{4})(.{4})(.{4})/$1-$2-$3-/ if $hex !~ /-/ && _chance(0.5);
	return _chance(0.1) ? "{$hex}" : $hex;
}

sub _event
{
	my %fields = (type => _good_string($MAX_KEY));

	$fields{data} = _any(0) if _chance(0.6);
	$fields{metadata} = [ 'object', [ map { [ _string(40), _any(1) ] } 1 .. int(rand(4)) ] ] if _chance(0.4);
	$fields{tags} = _chance(0.1) ? [ 'array', [] ] : _strings($MAX_KEY, _chance(0.02) ? 100 : 4) if _chance(0.5);
	$fields{id} = [ 'string', _uuid() ] if _chance(0.3);
	return _fields(%fields);
}

sub _events
{
	return [ 'array', [ _some(_chance(0.02) ? 200 : 4, \&_event) ] ];
}

sub _whole_number
{
	my @whole = grep { defined $_->[1] } @NUMBERS;
	return [ 'number', _one_of(@whole) ];
}

sub _query
{
	my ($tagged) = @_;

	return [
		'array',
		[
			_some(
				3,
				sub {
					my %fields;

					$fields{types} = _strings(40, 3) if _chance(0.4);
					$fields{categories} = _strings(40, 3) if _chance(0.4);
					$fields{tags} = _strings(_chance(0.1) ? 3000 : 40, 3) if $tagged || !%fields || _chance(0.4);
					return _fields(%fields);
				})
		]
	];
}

sub _condition
{
	my %fields = (query => _query(1));

	$fields{after} = _whole_number() if _chance(0.7);
	return _fields(%fields);
}

sub _write
{
	my ($each) = @_;
	my $guard = !$each && _chance(0.3);
	my %fields = (key => _good_string($MAX_KEY));

	$fields{events} = _events() if !$guard;
	$fields{expected_version} = _whole_number() if _chance(0.3);
	$fields{allow_create} = [ 'boolean', _one_of('true', 'true', 'false') ] if !$guard && _chance(0.7);
	$fields{conditions} = [ 'array', [ _some(2, \&_condition) ] ] if _chance(0.2);
	$fields{request_id} = _good_string($MAX_REQUEST) if $each && _chance(0.3);
	if ($guard && _chance(0.2))
	{
		delete @fields{qw(key expected_version)};
		$fields{conditions} ||= [ 'array', [ _some(2, \&_condition) ] ];
	}
	return _fields(%fields);
}

sub _writes
{
	my ($each) = @_;
	return [ 'array', [ _some(_chance(0.02) ? 100 : 4, sub { _write($each) }) ] ];
}

# ---------------------------------------------------------------------------
# Mistakes
# ---------------------------------------------------------------------------

# All places where a value is: code that gets and sets it.
sub _places
{
	my ($value, $places, $set) = @_;

	push @$places, [ $value, $set ];
	if ($value->[0] eq 'array')
	{
		my $list = $value->[1];
		foreach my $i (0 .. $#$list)
		{
			_places($list->[$i], $places, sub { $list->[$i] = $_[0] });
		}
	}
	elsif ($value->[0] eq 'object')
	{
		foreach my $field (@{ $value->[1] })
		{
			_places($field->[1], $places, sub { $field->[1] = $_[0] });
		}
	}
	return;
}

my @NAMES = qw(type data metadata tags id key events expected_version allow_create conditions request_id
  query after types categories Type types event key_ version condition);

# Change one thing somewhere, which may do no harm.  Returns the value.
sub _mistake
{
	my ($root) = @_;
	my @places;

	_places($root, \@places, sub { $root = $_[0] });
	my ($value, $set) = @{ _one_of(@places) };
	my ($type, $content) = @$value;
	my $what = int(rand(8));

	if ($type eq 'object' && $what < 4)
	{
		push @$content, [ _one_of(@NAMES, _string(40)), _any(0) ] if $what == 0;
		splice @$content, rand(@$content), 1 if $what == 1 && @$content;
		_one_of(@$content)->[0] = _one_of(@NAMES) if $what == 2 && @$content;
		push @$content, [ _one_of(@$content)->[0], _any(0) ] if $what == 3 && @$content;
	}
	elsif ($type eq 'array' && $what < 4)
	{
		@$content = () if $what == 0;
		push @$content, _any(0) if $what == 1;
		splice @$content, rand(@$content), 1 if $what == 2 && @$content;
		push @$content, _one_of(@$content) if $what == 3 && @$content;
	}
	elsif ($type eq 'string' && $what < 4)
	{
		$value->[1] = _string(_one_of(40, $MAX_REQUEST, $MAX_KEY));
	}
	elsif ($what == 4)
	{
		$set->([ 'array', [$value] ]);
	}
	elsif ($what == 5)
	{
		$set->([ 'number', _one_of(@NUMBERS) ]);
	}
	else
	{
		$set->(_any(0));
	}
	return $root;
}

# ---------------------------------------------------------------------------
# The contract
# ---------------------------------------------------------------------------

sub _is_string
{
	my ($value, $limit) = @_;
	return 0 if $value->[0] ne 'string' || $value->[1] eq '';
	return !defined $limit || length(Encode::encode_utf8($value->[1])) <= $limit;
}

# The fields of an object, the last of each name; undef if it is none, or has others.
sub _fields_of
{
	my ($value, @names) = @_;
	my %known = map { $_ => 1 } @names;

	return if $value->[0] ne 'object';
	my %fields = map { @$_ } @{ $value->[1] };
	return if grep { !$known{$_} } keys %fields;
	return \%fields;
}

sub _is_list
{
	my ($value, $least, $is) = @_;
	return $value->[0] eq 'array' && @{ $value->[1] } >= $least && !grep { !$is->($_) } @{ $value->[1] };
}

sub _is_uuid
{
	my ($value) = @_;
	return $value->[0] eq 'string' && $value->[1] =~ /^(\{)?[0-9a-f]{4}(?:-?[0-9a-f]{4}){7}(?(1)\})\z/i;
}

sub _is_event
{
	my ($value) = @_;
	my $f = _fields_of($value, qw(type data metadata tags id)) or return 0;

	return
		 $f->{type}
	  && _is_string($f->{type}, $MAX_KEY)
	  && (!$f->{metadata} || $f->{metadata}[0] eq 'object')
	  && (!$f->{tags} || _is_list($f->{tags}, 0, sub { _is_string($_[0], $MAX_KEY) }))
	  && (!$f->{id} || _is_uuid($f->{id}));
}

sub _is_whole_number
{
	my ($value) = @_;
	return $value->[0] eq 'number' && defined $value->[1][1];
}

sub _is_query
{
	my ($value, $tagged) = @_;

	return _is_list(
		$value, 1,
		sub {
			my $f = _fields_of($_[0], qw(types categories tags)) or return 0;

			return %$f && (!$tagged || $f->{tags})
			  && !grep { !_is_list($_, 1, \&_is_string) } values %$f;
		});
}

sub _is_condition
{
	my ($value) = @_;
	my $f = _fields_of($value, qw(query after)) or return 0;

	return $f->{query} && _is_query($f->{query}, 1) && (!$f->{after} || _is_whole_number($f->{after}));
}

sub _is_write
{
	my ($value, $each) = @_;
	my $f = _fields_of($value, qw(key events expected_version allow_create conditions), $each ? 'request_id' : ()) or return 0;

	return 0 if $f->{key} && !_is_string($f->{key}, $MAX_KEY);
	return 0 if $f->{events} && !_is_list($f->{events}, 1, \&_is_event);
	return 0 if $f->{expected_version} && !_is_whole_number($f->{expected_version});
	return 0 if $f->{allow_create} && $f->{allow_create}[0] ne 'boolean';
	return 0 if $f->{conditions} && !_is_list($f->{conditions}, 1, \&_is_condition);
	return 0 if $f->{request_id} && !_is_string($f->{request_id}, $MAX_REQUEST);

	# Without events it is a guard.
	return 0 if !$f->{events} && ($each || $f->{allow_create});
	return $f->{key} || (!$f->{events} && !$f->{expected_version} && $f->{conditions});
}

# For each kind: make a right one, judge any.  Nothing is a decision, too.
my %KINDS = (
	events => [ \&_events, sub { _is_list($_[0], 1, \&_is_event) } ],
	request => [ \&_events, sub { _is_list($_[0], 1, \&_is_event) } ],
	many => [ sub { _writes(0) }, sub { _is_list($_[0], 1, sub { _is_write($_[0], 0) }) } ],
	each => [ sub { _writes(1) }, sub { _is_list($_[0], 1, sub { _is_write($_[0], 1) }) } ],
	query => [ sub { _query(0) }, sub { _is_query($_[0], 0) } ],
	tag_query => [ sub { _query(1) }, sub { _is_query($_[0], 1) } ],
	decision => [ \&_events, sub { _is_list($_[0], 0, \&_is_event) } ],
	decisions => [ sub { _writes(0) }, sub { _is_list($_[0], 0, sub { _is_write($_[0], 0) }) } ]);
$KINDS{try_many} = $KINDS{many};

# One input: kind, whether it is right, its JSON, a key.
sub input
{
	my $kind = _one_of(sort keys %KINDS);
	my ($make, $is_right) = @{ $KINDS{$kind} };
	my $value = _chance(0.02) ? _any(0) : $make->();
	my $key = _chance(0.8) ? 'order-1' : _string($kind eq 'request' ? $MAX_REQUEST : $MAX_KEY);
	my $good_key = $kind !~ /^(?:events|request|decision)$/
	  || _is_string([ 'string', $key ], $kind eq 'request' ? $MAX_REQUEST : $MAX_KEY);

	if (_chance(0.5))
	{
		$value = _mistake($value) foreach 1 .. _one_of(1, 1, 1, 2, 5);
	}
	return ($kind, $is_right->($value) && $good_key ? 't' : 'f', _text($value), $key);
}

# A text as COPY reads it.
sub copied
{
	my ($text) = @_;
	return $text =~ s/\\/\\\\/gr =~ s/\t/\\t/gr =~ s/\n/\\n/gr =~ s/\r/\\r/gr;
}

1;
