import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.LongStream;
import org.postgresql.ds.PGSimpleDataSource;
import org.springframework.dao.DataIntegrityViolationException;
import org.springframework.dao.OptimisticLockingFailureException;
import org.springframework.dao.PessimisticLockingFailureException;
import org.springframework.dao.TransientDataAccessException;
import org.springframework.jdbc.UncategorizedSQLException;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.jdbc.datasource.DataSourceTransactionManager;
import org.springframework.transaction.support.TransactionTemplate;

/** Run the recipe on the database of PGHOST, PGDATABASE and so on. */
final class Check {
    private static final List<?> USED = List.of(Map.of("type", "used"));

    private Check() {
    }

    static void ok(boolean condition, String what) {
        System.out.println((condition ? "ok - " : "not ok - ") + what);
        if (!condition) {
            System.exit(1);
        }
    }

    static <E extends RuntimeException> E refused(Class<E> kind, Runnable work) {
        try {
            work.run();
        } catch (RuntimeException error) {
            if (kind.isInstance(error)) {
                return kind.cast(error);
            }
            throw error;
        }
        throw new AssertionError("throws no " + kind);
    }

    static PGSimpleDataSource source() {
        PGSimpleDataSource source = new PGSimpleDataSource();
        source.setServerNames(new String[] {System.getenv("PGHOST")});
        source.setPortNumbers(new int[] {Integer.parseInt(System.getenv("PGPORT"))});
        source.setDatabaseName(System.getenv("PGDATABASE"));
        source.setUser(System.getenv("PGUSER"));
        source.setPassword(System.getenv("PGPASSWORD"));
        return source;
    }

    public static void main(String[] arguments) throws Exception {
        PGSimpleDataSource source = source();
        DataSourceTransactionManager transactions = new DataSourceTransactionManager(source);
        JdbcTemplate jdbc = new JdbcTemplate(source);
        EventStore plain = new EventStore(jdbc, transactions);
        ok(plain.append("account-1", List.of(Map.of("type", "opened"), Map.of("type", "used")), 0L) == 2, "append");
        refused(UncategorizedSQLException.class, () -> plain.append("account-1", USED, 1L));
        ok(true, "plain Spring knows no category for a conflict");

        jdbc.setExceptionTranslator(new EventStore.ConflictTranslator());
        EventStore store = new EventStore(jdbc, transactions);
        jdbc.execute("CREATE TABLE spring_note (note text PRIMARY KEY)");
        EventStore.VersionConflict conflict = refused(EventStore.VersionConflict.class,
            () -> new TransactionTemplate(transactions).execute(status -> {
                jdbc.update("INSERT INTO spring_note VALUES ('stale')");
                return store.append("account-1", USED, 1L);
            }));
        ok(conflict.key.equals("account-1") && conflict.expected == 1 && conflict.actual == 2, "a conflict with its facts");
        ok(jdbc.queryForObject("SELECT count(*) FROM spring_note", Integer.class) == 0, "the transaction's own rows are gone with it");
        RuntimeException seen = conflict;
        ok(seen instanceof OptimisticLockingFailureException && seen instanceof TransientDataAccessException
            && !(seen instanceof PessimisticLockingFailureException), "is optimistic: replay the pessimistic ones");
        jdbc.update("INSERT INTO spring_note VALUES ('once')");
        refused(DataIntegrityViolationException.class, () -> jdbc.update("INSERT INTO spring_note VALUES ('once')"));
        ok(true, "other errors are translated as before");

        AtomicInteger calls = new AtomicInteger();
        for (String state : new String[] {"40001", "40P01"}) {
            calls.set(0);
            refused(PessimisticLockingFailureException.class, () -> store.decideAgain(3, () -> {
                calls.incrementAndGet();
                jdbc.execute("DO $$ BEGIN RAISE SQLSTATE '" + state + "'; END $$");
                return null;
            }));
            ok(calls.get() == 3, state + " starts again");
        }
        calls.set(0);
        refused(RuntimeException.class, () -> store.decideAgain(3, () -> {
            calls.incrementAndGet();
            jdbc.execute("SELECT 1/0");
            return null;
        }));
        ok(calls.get() == 1, "other errors do not");
        calls.set(0);
        refused(EventStore.VersionConflict.class, () -> store.decideAgain(3, () -> {
            calls.incrementAndGet();
            return store.append("account-1", USED, 77L);
        }));
        ok(calls.get() == 3, "a conflict that stays comes through in the end");

        ExecutorService workers = Executors.newFixedThreadPool(4);
        List<Future<?>> deposits = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            // Decided on what was read: the total is wrong, not only late, if that was old.
            deposits.add(workers.submit(() -> store.decideAgain(50, () -> {
                List<EventStore.Event> events = store.read("account-2");
                return store.append("account-2", List.of(Map.of("type", "deposited", "data", Map.of("total", events.size() + 1))),
                    EventStore.version(events));
            })));
        }
        for (Future<?> deposit : deposits) {
            deposit.get();
        }
        workers.shutdown();
        List<String> totals = store.read("account-2").stream().map(EventStore.Event::data).toList();
        ok(totals.equals(LongStream.rangeClosed(1, 20).mapToObj(n -> "{\"total\": " + n + "}").toList()),
            "of racing deposits none is lost or decided on old facts");
    }
}
