import MartletCore
import NIOCore
import Testing

import martlet

@Suite("What the server does for itself")
struct HousekeepingTests {
    private let hour: Int64 = 3_600_000
    private let now: Int64 = 1_800_000_000_000
    private let week = Duration.seconds(7 * 86_400)

    private func monotonic(hours: Int64) -> NIODeadline { .uptimeNanoseconds(1) + .hours(hours) }

    @Test("archives forget what is older than the retention, and no younger message")
    func floor() throws {
        let floor = try #require(ArchiveRetention.floor(keeping: week, wall: now))
        let oldest = now - 7 * 24 * hour
        #expect(UInt64(oldest - 1) << 20 | StanzaIDSource.countMask == floor)
        #expect(UInt64(oldest) << 20 == floor + 1)
        #expect(ArchiveRetention.floor(keeping: .zero, wall: now) == nil)
        #expect(ArchiveRetention.floor(keeping: week, wall: 7 * 24 * hour) == nil)
        #expect(ArchiveRetention.floor(keeping: week, wall: 7 * 24 * hour + 1) == (1 << 20) - 1)
        #expect(ArchiveRetention.floor(keeping: .seconds(36_500 * 86_400), wall: 0) == nil)
    }

    @Test("the first look forgets nothing, the next does")
    func firstLook() {
        var retention = ArchiveRetention()
        let looks = [0, 1].map { retention.isClockBelieved(wall: now + $0 * hour, monotonic: monotonic(hours: $0)) }
        #expect(looks == [false, true])
    }

    @Test("a clock that jumps by more than an hour is not believed until it goes on evenly (P20)", arguments: [-8_760, -2, -1, 1, 2, 8_760] as [Int64])
    func jump(_ hours: Int64) {
        var retention = ArchiveRetention()
        _ = retention.isClockBelieved(wall: now, monotonic: monotonic(hours: 0))
        let jumped = now + (1 + hours) * hour
        let looks = [1, 2].map { retention.isClockBelieved(wall: jumped + ($0 - 1) * hour, monotonic: monotonic(hours: $0)) }
        #expect(looks == [hours.magnitude <= 1, true])
    }

    @Test("little space is told once for each crossing, and much only with a tenth to spare")
    func space() {
        var watch = DiskWatch()
        let looks = [1_000, 999, 998, 0, 1_000, 1_099, 1_100, 5_000, 999].map { free in
            watch.look(at: DiskSpace(freeBytes: free, totalBytes: 10_000), warning: 1_000)
        }
        #expect(looks == [nil, .low, nil, nil, nil, nil, .enough, nil, .low])
        #expect(watch.look(at: DiskSpace(freeBytes: 0, totalBytes: 1), warning: nil) == nil)
        #expect(watch.look(at: DiskSpace(freeBytes: 0, totalBytes: 1), warning: 1) == .low)
    }

    @Test("the space of a disk is asked of the system")
    func percent() throws {
        #expect(DiskSpace(freeBytes: 199, totalBytes: 1_000).freePercent == 19 && DiskSpace(freeBytes: 0, totalBytes: 0).freePercent == 0)
        #expect(DiskSpace(freeBytes: .max, totalBytes: .max).freePercent == 100)
        let space = try #require(DiskSpace(of: "/"))
        #expect(space.totalBytes > 0 && (0...space.totalBytes).contains(space.freeBytes))
        #expect(DiskSpace(of: "/no/such/folder") == nil)
    }
}
