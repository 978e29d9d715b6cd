import MartletFeatures
import MartletTesting
import MartletXMPP
import Testing

/// Random walks: whatever is asked of nodes, in whatever order, some things are always so.
@Suite("nodes, walked at random")
struct NodeWalkTests {
    private static let people = ["hamlet@denmark.lit/a", "horatio@denmark.lit/a", "francisco@denmark.lit/a", "juliet@capulet.lit/a", "nurse@capulet.lit/a"]
    private static let nodes = ["m", "n"]
    private static let items = ["1", "2", "3", "4"]

    @Test("what is on disk is all that there is to know: nodes that are read anew before each request answer as those that are not", arguments: 0..<20)
    func reloaded(seed: UInt64) {
        var numbers = SeededNumbers(seed: seed &* 7919 &+ 5)
        var kept = seed % 2 == 0 ? NodesOnPaper.service() : NodesOnPaper.personal()
        var reloaded = kept.independent()
        for step in 0..<100 {
            let request = Self.request(&numbers)
            reloaded.reload()
            let (one, other) = (Self.ask(request, &kept), Self.ask(request, &reloaded))
            #expect(one == other, "seed \(seed) step \(step): \(request)")
            let (news, others) = (kept.news(), reloaded.news())
            #expect(news.map(\.message) == others.map(\.message) && news.map(\.to) == others.map(\.to), "seed \(seed) step \(step): \(request)")
            #expect(kept.nodes.byteCount == kept.disk.byteCount, "seed \(seed) step \(step): \(request)")
            for told in news where told.notice.kind == .items { checkReaders(told, &kept, "seed \(seed) step \(step): \(request)") }
        }
    }

    /// Whoever is told of items may read them.
    private func checkReaders(_ told: NodesOnPaper.Told, _ paper: inout NodesOnPaper, _ place: Comment) {
        for reader in told.to {
            let refusal = paper.get("<items node='\(told.notice.name)'/>", by: reader).refusal
            #expect(refusal == nil || refusal == "cancel/feature-not-implemented unsupported persistent-items", place)
        }
    }

    // MARK: Requests

    private struct Request: CustomStringConvertible {
        enum Kind: Hashable { case get, set, ownerGet, ownerSet }
        var kind: Kind
        var content: String
        var actor: String
        var description: String { "\(actor) \(kind) \(content)" }
    }

    private static func ask(_ request: Request, _ paper: inout NodesOnPaper) -> TestStanza {
        switch request.kind {
        case .get: paper.get(request.content, by: request.actor)
        case .set: paper.set(request.content, by: request.actor)
        case .ownerGet: paper.ownerGet(request.content, by: request.actor)
        case .ownerSet: paper.ownerSet(request.content, by: request.actor)
        }
    }

    private static func request(_ numbers: inout SeededNumbers) -> Request {
        func one(_ choices: [String]) -> String { choices.randomElement(using: &numbers) ?? "" }
        // Those who may most ask most.
        let actor = one(people + ["hamlet@denmark.lit/a", "juliet@capulet.lit/a", "hamlet@denmark.lit/a", "juliet@capulet.lit/a"])
        let (node, item, person) = (one(nodes), one(items), one(people))
        let bare = String(person.prefix { $0 != "/" })
        let payload = "<item id='\(item)'><entry xmlns='urn:example'>\(one(items + ["long", "longer"]))</entry></item>"
        let address = one([String(actor.prefix { $0 != "/" }), actor])
        switch Int.random(in: 0..<20, using: &numbers) {
        case 0, 1: return Request(kind: .set, content: "<create node='\(node)'/>", actor: actor)
        case 2:
            let redirect = one(["", "<redirect uri='xmpp:elsewhere'/>"])
            return Request(kind: .ownerSet, content: "<delete node='\(node)'>\(redirect)</delete>", actor: one([actor, person, person, person]))
        case 3, 4: return Request(kind: .ownerSet, content: "<configure node='\(node)'>\(form(one))</configure>", actor: actor)
        case 5, 6, 7, 8: return Request(kind: .set, content: "<publish node='\(node)'>\(payload)</publish>", actor: actor)
        case 9: return Request(kind: .set, content: "<retract node='\(node)'><item id='\(item)'/></retract>", actor: actor)
        case 10: return Request(kind: .ownerSet, content: "<purge node='\(node)'/>", actor: one([actor, person]))
        case 11, 12, 13: return Request(kind: .set, content: "<subscribe node='\(node)' jid='\(address)'/>", actor: actor)
        case 14: return Request(kind: .set, content: "<unsubscribe node='\(node)' jid='\(address)'/>", actor: actor)
        case 15, 16:
            let affiliation = one(["owner", "publisher", "publish-only", "member", "none", "outcast"])
            let entry = "<affiliation jid='\(bare)' affiliation='\(affiliation)'/>"
            return Request(kind: .ownerSet, content: "<affiliations node='\(node)'>\(entry)</affiliations>", actor: actor)
        case 17:
            let entry = "<subscription jid='\(bare)' subscription='\(one(["subscribed", "none"]))'/>"
            return Request(kind: .ownerSet, content: "<subscriptions node='\(node)'>\(entry)</subscriptions>", actor: actor)
        case 18: return Request(kind: .ownerGet, content: "<\(one(["affiliations", "subscriptions", "configure"])) node='\(node)'/>", actor: actor)
        default:
            let page = one(["", "<set xmlns='http://jabber.org/protocol/rsm'><max>2</max><after>\(item)</after></set>"])
            let reading = one(["<items node='\(node)'/>\(page)", "<subscriptions/>", "<affiliations/>"])
            return Request(kind: .get, content: reading, actor: actor)
        }
    }

    private static func form(_ one: ([String]) -> String) -> String {
        NodesOnPaper.form(
            "node_config",
            [
                "max_items": one(["1", "2", "3", "max"]), "persist_items": one(["0", "1", "1", "1"]), "notify_retract": one(["0", "1"]),
                "access_model": one(["open", "whitelist", "authorize", "open"]), "publish_model": one(["publishers", "subscribers", "open"]),
            ])
    }
}
