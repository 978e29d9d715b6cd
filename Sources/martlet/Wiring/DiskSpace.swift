import Foundation

/// How much room there is on the disk of a folder.
package struct DiskSpace: Hashable, Sendable {
    package var freeBytes: Int
    package var totalBytes: Int
    package var freePercent: Int { totalBytes > 0 ? Int(Double(freeBytes) / Double(totalBytes) * 100) : 0 }

    package init(freeBytes: Int, totalBytes: Int) {
        self.freeBytes = freeBytes
        self.totalBytes = totalBytes
    }

    /// `nil` if the system does not say.
    package init?(of folder: String) {
        var status = statvfs()
        guard statvfs(folder, &status) == 0 else { return nil }
        let block = UInt64(status.f_frsize)
        self.init(freeBytes: Int(clamping: UInt64(status.f_bavail) * block), totalBytes: Int(clamping: UInt64(status.f_blocks) * block))
    }
}

/// Notices when the space becomes low, and when it is no longer: once for each crossing.
package struct DiskWatch: Sendable {
    package enum Crossing: Hashable, Sendable { case low, enough }

    private var isLow = false

    package init() {}

    /// - Parameter warning: below so many bytes the space is low, and until there is a tenth more; `nil` for never.
    package mutating func look(at space: DiskSpace, warning: Int?) -> Crossing? {
        guard let warning else {
            isLow = false
            return nil
        }
        if !isLow, space.freeBytes < warning {
            isLow = true
            return .low
        }
        if isLow, space.freeBytes >= warning + warning / 10 {
            isLow = false
            return .enough
        }
        return nil
    }
}
