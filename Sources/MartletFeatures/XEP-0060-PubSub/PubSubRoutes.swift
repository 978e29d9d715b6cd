import MartletCore
import MartletXML
import MartletXMPP

/// The requests about nodes as they come to an address, be it a service's or an account's.
extension PubSubRequest {
    typealias Taking = @Sendable (PubSubRequest, HeldRequest, LoopContext) -> Void

    /// - Parameter take: is given what could be read; the rest is refused.
    static func iqRoutes(at scope: IQRoute.Scope, _ take: @escaping Taking) -> [IQRoute] {
        [(IQRequest.Kind.get, Namespace.pubsub), (.set, .pubsub), (.get, .pubsubOwner), (.set, .pubsubOwner)].map { kind, namespace in
            route(kind, "pubsub", namespace, at: scope, take) { child, kind throws(PubSubError) in try PubSubRequest(child, kind) }
        } + [
            route(.get, "query", .archive, at: scope, take) { child, kind throws(PubSubError) in try .archive(child, kind) },
            route(.set, "query", .archive, at: scope, take) { child, kind throws(PubSubError) in try .archive(child, kind) },
            route(.set, "command", .commands, at: scope, take) { child, _ throws(PubSubError) in
                .command(try asPubSub { () throws(StanzaError) in try CommandRequest(child) })
            },
        ]
    }

    private static func route(
        _ kind: IQRequest.Kind, _ local: StaticString, _ namespace: Namespace, at scope: IQRoute.Scope, _ take: @escaping Taking,
        _ read: @escaping @Sendable (ElementView, IQType) throws(PubSubError) -> PubSubRequest
    ) -> IQRoute {
        .held(kind, local, namespace, at: scope) { held, context in
            let request: PubSubRequest
            do throws(PubSubError) { request = try read(held.request.child, kind == .get ? .get : .set) } catch {
                return held.refuse(with: error.encoded(answering: held.request.stanza), context)
            }
            take(request, held, context)
        }
    }
}
