package tollway.bench;

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.LongAdder;

/** Counts the clicks that the job has read, and notes when it read the first. All tasks run in one JVM, so it is static. */
final class ReadCounter {
  private static final OperatingSystemMXBean SYSTEM =
      (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
  private static final LongAdder CLICKS = new LongAdder();
  private static final AtomicLong FIRST_NANOS = new AtomicLong();
  private static volatile long firstCpuNanos;

  private ReadCounter() {}

  static void count() {
    if (FIRST_NANOS.get() == 0 && FIRST_NANOS.compareAndSet(0, System.nanoTime())) firstCpuNanos = SYSTEM.getProcessCpuTime();
    CLICKS.increment();
  }

  static long clicks() {
    return CLICKS.sum();
  }

  /** Seconds since the first click was read. */
  static double seconds() {
    return (System.nanoTime() - FIRST_NANOS.get()) / 1e9;
  }

  /** CPU time of the JVM since the first click was read, in seconds. */
  static double cpuSeconds() {
    return (SYSTEM.getProcessCpuTime() - firstCpuNanos) / 1e9;
  }
}
