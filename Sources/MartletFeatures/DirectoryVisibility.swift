import MartletCore
import MartletXML
import MartletXMPP

/// Whom an account is shown to by the directory, by a command of its domain (XEP-0050): what its owner says only takes away from what others see.
struct DirectoryVisibility: Sendable {
    static let node = "urn:x-martlet:directory-visibility"

    /// What holds for who has said nothing.
    let defaultWish: PresenceWish

    init(_ defaultWish: PresenceWish) { self.defaultWish = defaultWish }

    var command: ServerCommand { ServerCommand(Self.node, "Say whom the directory shows your presence to", for: .owners, perform) }

    private func perform(_ call: ServerCommand.Call) async throws(StanzaError) -> CommandStep {
        guard let answer = call.answers.first else {
            let wish: PresenceWish?
            do throws(AccountRefusal) { wish = try await call.router.presenceWish(of: call.actor.bare, on: call.mailbox) } catch { throw error.stanzaError }
            return Self.ask(wish ?? defaultWish)
        }
        var fields = try FormSubmission(answer, type: Self.node)
        guard let wish: PresenceWish = try fields.choice("visibility") else { throw .badRequest("nothing was chosen") }
        do throws(AccountRefusal) {
            try await call.router.setPresenceWish(wish, of: call.actor.bare, on: call.mailbox)
        } catch {
            throw error.stanzaError
        }
        return .done(notes: [CommandNote(.info, "the directory shows your presence to: \(Self.words(wish))")])
    }

    private static func ask(_ wish: PresenceWish) -> CommandStep {
        let choices = PresenceWish.allCases.map { ($0.rawValue, words($0)) }
        var form = DataForm(.form, type: node, fields: [.choice("visibility", "Who sees your presence in the directory", wish.rawValue, choices)])
        form.title = "Presence in the directory"
        return .ask(form, isLast: true)
    }

    private static func words(_ wish: PresenceWish) -> String {
        switch wish {
        case .none: "nobody"
        case .contacts: "your contacts"
        case .organisation: "your contacts, and whoever else the operator allows"
        }
    }
}
