import Logging
import MartletCore
import MartletDirectory
import MartletXMPP

/// What is looked at from time to time where directories say who there is: whether they are still there, and whose entry has been gone for too long.
struct DirectoryHousekeeping: Sendable {
    private let directories: [BareJID: DirectoryAssembly.Assembled]
    private let log: Logger
    /// How often in a row it was found that nobody can log in.
    private var looks: [BareJID: Int] = [:]

    /// Not the first one: at the start it may just not have been read yet.
    private static let reportedLook = 2

    init(_ directories: [BareJID: DirectoryAssembly.Assembled], log: Logger) {
        self.directories = directories
        self.log = log
    }

    /// Says so once when nobody gets in any more because a directory has been away for too long, and when it is back.
    mutating func lookAtContact() {
        for (domain, directory) in directories {
            let people = directory.service.people
            guard !people.isGoodEnough else {
                if looks.removeValue(forKey: domain) ?? 0 >= Self.reportedLook {
                    log.notice("the directory is there again: people can log in", metadata: ["domain": "\(domain)"])
                }
                continue
            }
            looks[domain, default: 0] += 1
            guard looks[domain] == Self.reportedLook else { continue }
            log.error(
                "the directory has not been heard of for too long: nobody can log in",
                metadata: ["domain": "\(domain)", "seconds": "\(people.silenceSeconds.map(String.init) ?? "never")"])
        }
    }

    /// Deletes accounts whose entry has been gone for too long. Not while the directory is away: somebody may have come back.
    func deleteGone() async {
        for (domain, directory) in directories where directory.service.people.contact == .live {
            do throws(AccountRefusal) {
                let count = try await directory.service.deleteGone()
                if count > 0 { log.notice("accounts are deleted whose entries were gone", metadata: ["domain": "\(domain)", "count": "\(count)"]) }
            } catch {
                log.warning("accounts whose entries are gone stay", metadata: ["domain": "\(domain)", "why": "\(error)"])
            }
        }
    }
}
