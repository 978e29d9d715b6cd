import CoreMetrics
package import MartletDirectory
package import MartletXMPP

extension ServerMetrics {
    static func describeDirectories(in registry: OpenMetricsRegistry) {
        registry.describe("martlet_directory_up", .gauge, "1 while the directory of a domain is followed, else 0.")
        registry.describe("martlet_directory_silence_seconds", .gauge, "How long nothing was heard of the directory of a domain; 0 while it is followed.")
        registry.describe("martlet_directory_people", .gauge, "People of a directory who have accounts.")
        registry.describe("martlet_directory_held", .gauge, "Accounts that a directory does not know any more, and that stay until that is confirmed.")
        registry.describe("martlet_directory_changes", .counter, "What a directory has said of people since the start.")
        registry.describe("martlet_directory_failures", .counter, "Times that a directory could not be followed since the start.")
    }

    /// Directories, by their domains. Before a reading.
    package static func set(_ directories: [BareJID: DirectoryService], in registry: OpenMetricsRegistry) {
        for (domain, directory) in directories {
            let dimensions = [("domain", domain.description)]
            func set(_ name: String, _ value: Int) { registry.makeMeter(label: name, dimensions: dimensions).set(Int64(value)) }
            func count(_ name: String, _ value: Int) {
                let counter = registry.makeCounter(label: name, dimensions: dimensions)
                counter.reset()
                counter.increment(by: Int64(value))
            }
            let people = directory.people
            let held = if case .holding(_, let accounts) = people.brake.state { accounts } else { 0 }
            set("martlet_directory_up", people.contact == .live ? 1 : 0)
            if let seconds = people.silenceSeconds { set("martlet_directory_silence_seconds", Int(clamping: seconds)) }
            set("martlet_directory_people", people.count)
            set("martlet_directory_held", held + directory.counters.held)
            count("martlet_directory_changes", directory.counters.changes)
            count("martlet_directory_failures", directory.counters.failures)
        }
    }
}
