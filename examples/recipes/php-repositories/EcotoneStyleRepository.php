<?php
/*
 * A repository in the manner of Ecotone: the framework loads the aggregate, calls its
 * command handler, and saves it with the version that it had before.
 *
 * That version is what makes the save conditional. Ecotone's retries (its
 * ErrorHandler or instant retry) run the whole handler again, and so decide anew; that
 * is right for a conflict. The id of the command's message names the request, so that
 * one delivered twice changes nothing twice.
 */
declare(strict_types=1);

namespace App\Eventstore;

/** What the repository wants of an aggregate. */
interface EventSourcedAggregate
{
    /** @param array[] $events as EventStore::read() gives them */
    public static function fromEvents(array $events): self;

    /** The events since it was loaded, as es_append() takes them. */
    public function recordedEvents(): array;
}

final class EcotoneStyleRepository
{
    private EventStore $store;
    /** @var array<class-string<EventSourcedAggregate>, string> category of each aggregate class */
    private array $categories;

    public function __construct(EventStore $store, array $categories)
    {
        [$this->store, $this->categories] = [$store, $categories];
    }

    public function canHandle(string $aggregateClassName): bool
    {
        return isset($this->categories[$aggregateClassName]);
    }

    public function findBy(string $aggregateClassName, array $identifiers): ?EventSourcedAggregate
    {
        $events = $this->store->read($this->key($aggregateClassName, $identifiers));
        return $events ? $aggregateClassName::fromEvents($events) : null;
    }

    /** $versionBeforeHandling: 0 for a new aggregate; null: whatever it is at by now. */
    public function save(array $identifiers, EventSourcedAggregate $aggregate, array $metadata, ?int $versionBeforeHandling): void
    {
        $events = array_map(
            static fn (array $event) => $event + ['metadata' => (object) $metadata],
            $aggregate->recordedEvents());
        if ($events) {
            $this->store->append($this->key(get_class($aggregate), $identifiers), $events,
                $versionBeforeHandling, $metadata['id'] ?? null);
        }
    }

    /** Of several identifiers the order does not matter. */
    private function key(string $aggregateClassName, array $identifiers): string
    {
        ksort($identifiers);
        return $this->categories[$aggregateClassName] . '-' . implode(':', array_map('rawurlencode', array_map('strval', $identifiers)));
    }
}
