import MartletCore
package import NIOCore
import Synchronization

/// A clock that stands still until it is moved.
package final class ManualTime: TimeSource {
    /// The wall clock when a test begins: 2020-09-13T12:26:40Z.
    package static let start: Int64 = 1_600_000_000_000
    private let elapsed = Mutex(Int64(0))

    package init() {}

    package var monotonic: NIODeadline { .uptimeNanoseconds(UInt64(clamping: elapsed.withLock { $0 })) }
    package var wallMilliseconds: Int64 { Self.start + elapsed.withLock { $0 } / 1_000_000 }

    package func advance(by nanoseconds: Int64) { elapsed.withLock { $0 += nanoseconds } }
}

/// Numbers that look random and are the same in every run (SplitMix64).
package struct SeededNumbers: RandomNumberGenerator {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// Random bytes that are the same in every run.
package final class SeededRandom: RandomSource {
    private let numbers: Mutex<SeededNumbers>

    package init(seed: UInt64) { numbers = Mutex(SeededNumbers(seed: seed)) }

    package func bytes(_ count: Int) -> [UInt8] {
        numbers.withLock { numbers in (0..<count).map { _ in UInt8(truncatingIfNeeded: numbers.next() >> 32) } }
    }
}

/// Runs what tasks have to do when it is told to, on the thread that tells it: what waits is as repeatable as everything else.
package final class ManualExecutor: TaskExecutor {
    private let jobs = Mutex<[UnownedJob]>([])

    package init() {}

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        jobs.withLock { $0.append(job) }
    }

    /// - Returns: how many pieces of work it ran.
    package func run() -> Int {
        var count = 0
        while let job = jobs.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) {
            job.runSynchronously(on: asUnownedTaskExecutor())
            count += 1
        }
        return count
    }
}
