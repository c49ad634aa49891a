import com.google.gson.JsonObject;
import java.sql.Connection;
import java.sql.SQLException;
import java.sql.SQLTransientException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.LongStream;
import org.postgresql.ds.PGSimpleDataSource;

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

    static <E extends Exception> E refused(Class<E> kind, Callable<?> work) throws Exception {
        try {
            work.call();
        } catch (Exception error) {
            if (error.getClass() == kind) {
                return kind.cast(error);
            }
            throw error;
        }
        throw new AssertionError("throws no " + kind);
    }

    static void execute(Connection db, String sql) throws SQLException {
        try (Statement statement = db.createStatement()) {
            statement.execute(sql);
        }
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

    /** Decided on what was read: the total is wrong, not only late, if that was old. */
    static long deposit(Connection db) throws SQLException {
        List<EventStore.Event> events = EventStore.read(db, "account-2");
        return EventStore.append(db, "account-2",
            List.of(Map.of("type", "deposited", "data", Map.of("total", events.size() + 1))), EventStore.version(events));
    }

    public static void main(String[] arguments) throws Exception {
        PGSimpleDataSource source = source();
        try (Connection db = source.getConnection()) {
            ok(EventStore.append(db, "account-1", List.of(Map.of("type", "opened"), Map.of("type", "used")), 0L) == 2, "append");
            execute(db, "CREATE TABLE jdbc_note (note text)");
        }
        AtomicInteger calls = new AtomicInteger();
        EventStore.VersionConflict conflict = refused(EventStore.VersionConflict.class,
            () -> EventStore.decideAgain(source, 3, db -> {
                calls.incrementAndGet();
                execute(db, "INSERT INTO jdbc_note VALUES ('stale')");
                return EventStore.append(db, "account-1", USED, 1L);
            }));
        JsonObject first = conflict.first();
        ok(first.get("key").getAsString().equals("account-1") && first.get("expected").getAsLong() == 1
            && first.get("actual").getAsLong() == 2, "a conflict with its facts");
        ok(!((SQLException) conflict instanceof SQLTransientException) && conflict.getSQLState().equals("VE001"),
            "is not transient by its class, nor by its SQLSTATE");
        ok(calls.get() == 3, "one that stays comes through in the end");
        try (Connection db = source.getConnection(); Statement statement = db.createStatement()) {
            var rows = statement.executeQuery("SELECT count(*) FROM jdbc_note");
            rows.next();
            ok(rows.getInt(1) == 0, "the transaction's own rows are gone with it");
        }

        for (String[] each : new String[][] {{"40001", "3"}, {"22012", "1"}}) {
            calls.set(0);
            SQLException error = refused(org.postgresql.util.PSQLException.class,
                () -> EventStore.decideAgain(source, 3, db -> {
                    calls.incrementAndGet();
                    execute(db, "DO $$ BEGIN RAISE SQLSTATE '" + each[0] + "'; END $$");
                    return null;
                }));
            ok(error.getSQLState().equals(each[0]) && calls.get() == Integer.parseInt(each[1]), each[0] + " runs it " + each[1] + " times");
        }

        ExecutorService workers = Executors.newFixedThreadPool(4);
        List<Future<?>> deposits = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            deposits.add(workers.submit(() -> EventStore.decideAgain(source, 50, Check::deposit)));
        }
        for (Future<?> deposit : deposits) {
            deposit.get();
        }
        workers.shutdown();
        try (Connection db = source.getConnection()) {
            List<String> totals = EventStore.read(db, "account-2").stream().map(EventStore.Event::data).toList();
            ok(totals.equals(LongStream.rangeClosed(1, 20).mapToObj(n -> "{\"total\": " + n + "}").toList()),
                "of racing deposits none is lost or decided on old facts");
        }
    }
}
