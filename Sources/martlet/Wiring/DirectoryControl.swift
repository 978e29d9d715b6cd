import MartletCore
import MartletDirectory
import MartletXMPP

/// Answers what operators ask of directories.
struct DirectoryControl {
    let directories: [BareJID: DirectoryAssembly.Assembled]

    func answer(_ order: DirectoryOrder) async throws(CommandFailure) -> ControlResponse {
        switch order {
        case .status:
            var lines: [DirectoryLine] = []
            for directory in directories.values {
                var line = DirectoryLine(await directory.service.status)
                line.rosters = (await directory.rosters?.status).map { RosterLine($0) }
                lines.append(line)
            }
            return .directories(lines.sorted { $0.domain < $1.domain })
        case .confirm(let domain):
            guard let directory = (try? BareJID(parsing: domain)).flatMap({ directories[$0] }) else {
                throw CommandFailure(.data, "\(domain) is in no directory", hint: "martlet directory status lists those that are")
            }
            await directory.service.confirm()
            await directory.rosters?.confirm()
            return .done
        case .explain(let text): return .directoryEntry(try await explain(text))
        }
    }

    private func explain(_ text: String) async throws(CommandFailure) -> DirectoryExplanation {
        let address = try AccountAddress.parse(text)
        guard let directory = directories[address.domain] else { throw CommandFailure(.data, "\(address.domainpart) is in no directory") }
        switch directory.service.people.person(address) {
        case .unavailable:
            return DirectoryExplanation(account: text, verdict: "nobody comes in: the directory cannot be asked, and what is known of it is too old")
        case .nobody: return DirectoryExplanation(account: text, verdict: await directory.service.whyNobody(address))
        case .person(let person):
            let verdict = await directory.accounts.standing(of: address)
            var explanation = DirectoryExplanation(account: text, verdict: verdict == .ok ? "may come in" : "may not come in: \(verdict.rawValue)")
            explanation.entry = person.name
            explanation.uuid = "\(person.uuid)"
            explanation.groups = await directory.service.groups(of: person.uuid).map(DirectoryGroupLine.init)
            explanation.hashes = Set((person.credentials.derived + person.credentials.published).map(\.hash.mechanismName)).sorted()
            return explanation
        }
    }
}

extension RosterLine {
    fileprivate init(_ status: RosterExchange.Status) {
        self.init(items: status.items, waiting: status.waiting, refused: status.refused, heldBack: status.heldBack, unusable: status.unusable)
        fault = status.fault
    }
}

extension DirectoryLine {
    fileprivate init(_ status: DirectoryService.Status) {
        let (contact, since) = Contact.of(status.contact)
        self.init(domain: "\(status.domain)", contact: contact, people: status.people, heldBack: status.heldBack, refused: status.refused)
        lostSince = since
        server = status.server
        fault = status.fault
        groups = status.groups.map(DirectoryGroupsLine.init)
        follows = status.detection.map { detection in
            switch detection {
            case .contentSync: "content synchronization"
            case .persistentSearch: "persistent search"
            case .polling: "polling"
            }
        }
    }
}

extension DirectoryLine.Contact {
    fileprivate static func of(_ contact: DirectoryContact) -> (Self, since: Int64?) {
        switch contact {
        case .neverLoaded: (.neverLoaded, nil)
        case .live: (.live, nil)
        case .lost(let since): (.lost, since)
        }
    }
}

extension DirectoryGroupsLine {
    fileprivate init(_ status: GroupKeeping.Status) {
        let (contact, since) = DirectoryLine.Contact.of(status.contact)
        self.init(contact: contact, groups: status.groups, shown: status.shown, heldBack: status.heldBack, lacksAllowGroup: status.lacksAllowGroup)
        lostSince = since
        fault = status.fault
    }
}

extension DirectoryGroupLine {
    fileprivate init(_ explanation: GroupKeeping.Explanation) {
        let seenBy =
            switch explanation.audience {
            case .nobody: "nobody"
            case .members: "its members"
            case .everybody: "everybody"
            case .groups(let names): names.isEmpty ? "nobody" : "the members of " + names.joined(separator: ", ")
            }
        self.init(
            name: explanation.way.name, through: explanation.way.through, title: explanation.title, seenBy: seenBy, allows: explanation.allows)
    }
}
