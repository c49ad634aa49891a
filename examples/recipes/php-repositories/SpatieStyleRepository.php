<?php
/*
 * A stored-event repository and an aggregate root in the manner of Spatie's
 * laravel-event-sourcing.
 *
 * There an aggregate remembers the version that it was reconstituted at, compares it
 * with the stored one when it persists, and a subclass opts out with $allowConcurrency.
 * Between that comparison and the insert a second writer can slip in; here the
 * comparison is the append.
 */
declare(strict_types=1);

namespace App\Eventstore;

use RuntimeException;

final class CouldNotPersistAggregate extends RuntimeException
{
    public static function unexpectedVersionAlreadyPersisted(object $aggregate, string $uuid, int $expected, VersionConflict $conflict): self
    {
        return new self(sprintf('%s %s was changed by somebody else: persisted up to version %3$d when it was retrieved, %4$d now',
            get_class($aggregate), $uuid, $expected, $conflict->actual), 0, $conflict);
    }
}

final class StoredEventRepository
{
    private EventStore $store;
    private string $category;

    public function __construct(EventStore $store, string $category)
    {
        [$this->store, $this->category] = [$store, $category];
    }

    public function retrieveAll(string $uuid): array
    {
        return $this->retrieveAllAfterVersion(0, $uuid);
    }

    public function retrieveAllAfterVersion(int $aggregateVersion, string $uuid): array
    {
        return $this->store->read($this->key($uuid), $aggregateVersion + 1);
    }

    public function getLatestAggregateVersion(string $uuid): int
    {
        return $this->store->version($this->key($uuid));
    }

    public function persist(array $event, string $uuid, ?int $expectedVersion): int
    {
        return $this->persistMany([$event], $uuid, $expectedVersion);
    }

    /** Append after $expectedVersion, or with null after whatever is there; return the new version. */
    public function persistMany(array $events, string $uuid, ?int $expectedVersion): int
    {
        return $this->store->append($this->key($uuid), $events, $expectedVersion);
    }

    private function key(string $uuid): string
    {
        return "$this->category-$uuid";
    }
}

abstract class AggregateRoot
{
    /** true: persist whatever others have persisted meanwhile. For events that are true in any order. */
    protected static bool $allowConcurrency = false;

    private StoredEventRepository $events;
    private string $uuid;
    private int $versionAfterReconstitution = 0;
    private int $version = 0;
    private array $recorded = [];

    final private function __construct()
    {
    }

    public static function retrieve(string $uuid, StoredEventRepository $events): static
    {
        $aggregate = new static();
        [$aggregate->uuid, $aggregate->events] = [$uuid, $events];
        foreach ($events->retrieveAll($uuid) as $event) {
            $aggregate->apply($event);
        }
        $aggregate->versionAfterReconstitution = $aggregate->version;
        return $aggregate;
    }

    public function recordThat(string $type, array $data = []): static
    {
        $event = ['type' => $type, 'data' => (object) $data];
        $this->recorded[] = $event;
        $this->apply(['type' => $type, 'data' => $data]);
        return $this;
    }

    public function persist(): static
    {
        if ($this->recorded) {
            try {
                $version = $this->events->persistMany($this->recorded, $this->uuid,
                    static::$allowConcurrency ? null : $this->versionAfterReconstitution);
            } catch (VersionConflict $conflict) {
                throw CouldNotPersistAggregate::unexpectedVersionAlreadyPersisted(
                    $this, $this->uuid, $this->versionAfterReconstitution, $conflict);
            }
            $this->recorded = [];
            $this->version = $this->versionAfterReconstitution = $version;
        }
        return $this;
    }

    /** Calls applyOpened(array $data) for an event of type "opened", if there is such a method. */
    private function apply(array $event): void
    {
        $method = 'apply' . ucfirst($event['type']);
        if (method_exists($this, $method)) {
            $this->$method($event['data'] ?? []);
        }
        $this->version++;
    }
}
