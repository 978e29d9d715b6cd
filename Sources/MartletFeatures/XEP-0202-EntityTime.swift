package import MartletCore
package import MartletXML
import MartletXMPP

extension Namespace {
    package static let time: Namespace = "urn:xmpp:time"
}

/// The server's time, in UTC: where it stands is nobody's business.
package struct EntityTime: IQResponder {
    package static let specification = Specification.xep(202, "Entity Time", version: "2.0")
    package let disco = DiscoFeatures(host: [.time])
    private let time: any TimeSource

    package init(time: any TimeSource) { self.time = time }

    package var routes: [IQRoute] {
        [
            .immediate(.get, "time", .time, at: .host) { [time] _, _ throws(StanzaError) in
                IQReply { writer in
                    writer.element("time", .time) { writer in
                        writer.element("tzo", .time, text: "+00:00")
                        writer.element("utc", .time, text: DateTime.text(milliseconds: time.wallMilliseconds))
                    }
                }
            }
        ]
    }
}
