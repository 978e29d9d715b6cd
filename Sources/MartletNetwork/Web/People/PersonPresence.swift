package import MartletCore

/// What is shown of somebody's presence, whoever looks.
package struct PersonPresence: Hashable, Sendable {
    package let show: PresenceSummary.Show
    package let text: String

    package init(_ summary: PresenceSummary) {
        show = summary.show
        text = summary.text
    }
}
