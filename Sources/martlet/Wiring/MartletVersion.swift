/// Which version this is.
package enum MartletVersion {
    package static let current = "0.1.0"
}
