#!/usr/bin/env php
<?php
/* Run both repositories on the database of PGHOST, PGDATABASE and so on. */
declare(strict_types=1);

foreach (['EventStore', 'EcotoneStyleRepository', 'SpatieStyleRepository'] as $file) {
    require __DIR__ . "/$file.php";
}

use App\Eventstore\AggregateRoot;
use App\Eventstore\CouldNotPersistAggregate;
use App\Eventstore\EcotoneStyleRepository;
use App\Eventstore\EventSourcedAggregate;
use App\Eventstore\EventStore;
use App\Eventstore\StoredEventRepository;
use App\Eventstore\VersionConflict;

final class Account implements EventSourcedAggregate
{
    public int $balance = 0;
    public int $version = 0;
    private array $recorded = [];

    public static function fromEvents(array $events): self
    {
        $account = new self();
        foreach ($events as ['data' => $data, 'version' => $version]) {
            [$account->balance, $account->version] = [$data['balance'], $version];
        }
        return $account;
    }

    public function deposit(int $amount): void
    {
        $this->balance += $amount;
        $this->recorded[] = ['type' => 'deposited', 'data' => ['balance' => $this->balance]];
    }

    public function recordedEvents(): array
    {
        return $this->recorded;
    }
}

final class Cart extends AggregateRoot
{
    public int $items = 0;

    protected function applyAdded(array $data): void
    {
        $this->items += $data['quantity'];
    }
}

final class PageVisits extends AggregateRoot
{
    protected static bool $allowConcurrency = true;
}

function ok(bool $condition, string $what): void
{
    echo $condition ? '' : 'not ', "ok - $what\n";
    $condition || exit(1);
}

function refused(string $class, callable $work): Throwable
{
    try {
        $work();
    } catch (Throwable $error) {
        if (get_class($error) === $class) {
            return $error;
        }
        throw $error;
    }
    ok(false, "throws $class");
}

$db = new PDO('pgsql:', null, null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
$store = new EventStore($db);
$accounts = new EcotoneStyleRepository($store, [Account::class => 'account']);

/* What the framework does with a command. */
$handle = function (array $identifiers, callable $handler, array $metadata = []) use ($accounts): void {
    $account = $accounts->findBy(Account::class, $identifiers) ?? new Account();
    $version = $account->version;
    $handler($account);
    $accounts->save($identifiers, $account, $metadata, $version);
};

if ($argc > 1) {
    for ($i = 0; $i < 5; $i++) {
        for (;;) {
            try {
                $handle(['id' => $argv[1]], fn (Account $account) => $account->deposit(1));
                break;
            } catch (VersionConflict $conflict) {
                usleep(random_int(0, 20_000));
            }
        }
    }
    exit;
}

ok($accounts->canHandle(Account::class) && !$accounts->canHandle(Cart::class), 'Ecotone: knows its classes');
ok($accounts->findBy(Account::class, ['id' => 1]) === null, 'an unknown aggregate is null');
$handle(['id' => 1], fn (Account $account) => $account->deposit(5), ['id' => 'message-1', 'correlation_id' => 'c-1']);
$handle(['id' => 1], fn (Account $account) => $account->deposit(7));
$account = $accounts->findBy(Account::class, ['id' => '1']);
ok([$account->balance, $account->version] === [12, 2], 'saves and finds');
ok($store->read('account-1')[0]['metadata'] === ['id' => 'message-1', 'correlation_id' => 'c-1'], 'metadata goes to the events');

[$one, $two] = [$accounts->findBy(Account::class, ['id' => 1]), $accounts->findBy(Account::class, ['id' => 1])];
$one->deposit(1);
$two->deposit(2);
$accounts->save(['id' => 1], $one, [], 2);
$conflict = refused(VersionConflict::class, fn () => $accounts->save(['id' => 1], $two, [], 2));
ok([$conflict->key, $conflict->expected, $conflict->actual] === ['account-1', 2, 3], 'the second of two saves is refused');
$accounts->save(['id' => 1], $two, [], null);
ok($store->version('account-1') === 4, 'without a version it is not');
refused(VersionConflict::class, fn () => $accounts->save(['id' => 1], $two, [], 0));
ok(true, 'version 0 is for new ones');

$late = new Account();
$late->deposit(5);
$accounts->save(['id' => 1], $late, ['id' => 'message-1', 'correlation_id' => 'c-1'], 0);
ok($store->version('account-1') === 4, 'a message that is delivered again changes nothing');
$handle(['b' => 'x-1', 'a' => 'y:2'], fn (Account $account) => $account->deposit(1));
ok($accounts->findBy(Account::class, ['a' => 'y:2', 'b' => 'x-1'])->balance === 1, 'several identifiers, in any order');
ok($store->version('account-y%3A2:x-1') === 1, 'make one key');

$workers = array_map(fn () => proc_open([PHP_BINARY, __FILE__, 'busy'], [], $pipes), range(1, 4));
foreach ($workers as $worker) {
    ok(proc_close($worker) === 0, 'worker');
}
ok($accounts->findBy(Account::class, ['id' => 'busy'])->balance === 20, 'of racing deposits none is lost');

$carts = new StoredEventRepository($store, 'cart');
$cart = Cart::retrieve('c1', $carts)->recordThat('added', ['quantity' => 2])->recordThat('paid')->persist();
ok($carts->getLatestAggregateVersion('c1') === 2 && count($carts->retrieveAllAfterVersion(1, 'c1')) === 1, 'Spatie: persists and retrieves');
$other = Cart::retrieve('c1', $carts)->recordThat('added', ['quantity' => 3]);
$cart->recordThat('added', ['quantity' => 1])->persist();
$error = refused(CouldNotPersistAggregate::class, fn () => $other->persist());
ok($error->getPrevious()->actual === 3 && strpos($error->getMessage(), 'version 2') !== false, 'an aggregate changed meanwhile is not persisted');
ok(Cart::retrieve('c1', $carts)->items === 3, 'and nothing of it is stored');
refused(VersionConflict::class, fn () => $carts->persist(['type' => 'paid'], 'c1', 1));
ok($carts->persist(['type' => 'paid'], 'c1', null) === 4, 'the repository has the choice, too');

$visits = new StoredEventRepository($store, 'visits');
[$one, $two] = [PageVisits::retrieve('home', $visits), PageVisits::retrieve('home', $visits)];
$one->recordThat('visited')->persist();
$two->recordThat('visited')->persist();
$one->recordThat('visited')->persist();
ok($visits->getLatestAggregateVersion('home') === 3, 'one with $allowConcurrency is');

$db->beginTransaction();
$db->exec('CREATE TABLE audit (note text)');
refused(VersionConflict::class, fn () => $accounts->save(['id' => 1], $late, [], 1));
$db->exec("INSERT INTO audit VALUES ('refused')");
$db->commit();
ok($db->query('SELECT note FROM audit')->fetchColumn() === 'refused', 'the transaction around a refusal goes on');
