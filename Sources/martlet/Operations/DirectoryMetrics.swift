import CoreMetrics
package import MartletDirectory
package import MartletXMPP

extension ServerMetrics {
    static func describeDirectories(in registry: OpenMetricsRegistry) {
        registry.describe("martlet_directory_up", .gauge, "1 while the directory of a domain is followed, else 0.")
        registry.describe("martlet_directory_silence_seconds", .gauge, "How long nothing was heard of the directory of a domain; 0 while it is followed.")
        registry.describe("martlet_directory_people", .gauge, "People of a directory who have accounts.")
        registry.describe("martlet_directory_held", .gauge, "Accounts that a directory does not know any more, and that stay until that is confirmed.")
        registry.describe("martlet_directory_groups_up", .gauge, "1 while the groups of a directory are followed, else 0.")
        registry.describe("martlet_directory_groups", .gauge, "Groups of a directory.")
        registry.describe("martlet_directory_members_held", .gauge, "Members whom a directory does not have in groups any more, and who stay until that is confirmed.")
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
            let counters = directory.counters
            set("martlet_directory_up", people.contact == .live ? 1 : 0)
            if let seconds = people.silenceSeconds { set("martlet_directory_silence_seconds", Int(clamping: seconds)) }
            set("martlet_directory_people", people.count)
            set("martlet_directory_held", people.brake.accounts + people.allowance.accounts + counters.held)
            count("martlet_directory_changes", counters.changes)
            count("martlet_directory_failures", counters.failures)
            guard directory.hasGroups else { continue }
            set("martlet_directory_groups_up", counters.areGroupsFollowed ? 1 : 0)
            set("martlet_directory_groups", counters.groups)
            set("martlet_directory_members_held", counters.heldMembers)
        }
    }
}
